"""A new backbone, back end or prompt engine is one file: here they are, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_models import toy_network, toy_sam

from rmpsam_ros.model.sam import build_prompt_model, save_weights
from rmpsam_ros.pipeline import PipelineConfig, create_pipeline
from rmpsam_ros.prompting import PROMPT_ENGINES, PromptingConfig, engines, load_prompt_engine
from rmpsam_ros.prompting.load import import_engines
from rmpsam_ros.runtime import EngineConfig, back_end, executors, load_engine, panoptic_network
from rmpsam_ros.runtime.back_end import BACK_ENDS, back_ends
from rmpsam_ros.runtime.load import available_engines, load_sam_engine
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt

FOLDER = Path(__file__).parent / "extension"
CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path, monkeypatch) -> EngineConfig:
    monkeypatch.setattr(panoptic_network, "CHECK_FRAMES", 1)
    return EngineConfig(device="cpu", num_threads=1, cache_folder=str(tmp_path / "cache"))


@pytest.fixture
def toy_back_end(monkeypatch) -> Iterator[None]:
    """The file lies in the folder of the back ends."""
    monkeypatch.setattr(executors, "__path__", [*executors.__path__, str(FOLDER / "back_ends")])
    back_end._import_all.cache_clear()
    yield
    BACK_ENDS.pop("toy", None)
    back_end._import_all.cache_clear()
    sys.modules.pop(f"{executors.__name__}.toy_executor", None)


@pytest.fixture
def toy_prompt_engine(monkeypatch) -> Iterator[None]:
    """The file lies in the folder of the prompt engines."""
    monkeypatch.setattr(engines, "__path__", [*engines.__path__, str(FOLDER / "prompt_engines")])
    import_engines()
    yield
    PROMPT_ENGINES.pop("toy", None)
    sys.modules.pop(f"{engines.__name__}.toy_prompts", None)


@pytest.fixture(name="toy_sam")
def toy_sam_fixture() -> Iterator[str]:
    """The name of a small prompt model."""
    with toy_sam() as name:
        yield name


@pytest.fixture
def toy_backbone() -> Iterator[str]:
    """The name of a network with it."""
    with toy_network() as name:
        yield name


def test_a_back_end_that_calls_itself_the_fastest_is_chosen_if_it_agrees(toy_back_end, config):
    lines: list[str] = []
    engine = load_engine(config, 7, lines.append)
    assert engine.info.engine == "toy 0.1" and "100.00% of pixels" in engine.info.agreement
    assert ("toy", "fp32") in available_engines(CPU)
    output = engine.run(np.zeros((1, 3, 64, 96), np.float32), np.array([[0, 0, 1, 1]], np.float32))
    assert output.objects.mask_logits.shape == (100, 16, 24) and len(output.prompts.iou) == 1
    assert len(engine.decode_prompts(output.features, np.zeros((3, 4), np.float32)).iou) == 3
    assert list(Path(config.cache_folder).glob("rmpsam_r18-toy-plan-*.engine"))
    engine.close()


def test_a_back_end_with_wrong_results_is_not(toy_back_end, toy_sam, config, tmp_path):
    back_ends()  # imports it
    module = sys.modules[f"{executors.__name__}.toy_executor"]
    module.ToyExecutor.error = 3.0
    weights = tmp_path / "small.safetensors"
    save_weights(build_prompt_model(toy_sam), weights)
    lines: list[str] = []
    config = replace(config, engine="toy")
    engine = load_sam_engine(toy_sam, weights, config, lines.append)
    assert engine.info.engine.startswith("torch")
    assert "not executed by toy in fp32: its results are too far" in "\n".join(lines)


def test_a_back_end_executes_every_network(toy_back_end, toy_sam, config, tmp_path):
    weights = tmp_path / "small.safetensors"
    save_weights(build_prompt_model(toy_sam), weights)
    engine = load_sam_engine(toy_sam, weights, replace(config, engine="toy"))
    assert engine.info.engine == "toy 0.1" and "mask IoU 1.0000" in engine.info.agreement


def test_a_backbone_runs_on_every_back_end(toy_backbone, config):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    names = {name for name, precision in available_engines(CPU) if precision == "fp32"}
    assert {"torch", "onnxruntime"} <= names
    for name in sorted(names):
        engine = load_engine(replace(config, model=toy_backbone, engine=name), 7)
        assert engine.info.model == toy_backbone and name in engine.info.engine
        assert engine.run(np.zeros((1, 3, 64, 96), np.float32)).prompts is None
        engine.close()


def test_a_prompt_engine_is_found_by_its_name_and_answers(toy_prompt_engine, config):
    prompting = PromptingConfig(engine="toy")
    engine = load_prompt_engine(prompting, config)
    box = np.array([[2, 3, 6, 9]], np.float32)
    prompt = ObjectPrompt(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8), box)
    geometry = SimpleNamespace(image_size=(20, 30))
    answer = engine.answer(SimpleNamespace(geometry=geometry), prompt)
    assert answer.mask.sum() == 4 * 6 and answer.mask[3:9, 2:6].all()
    network = replace(config, engine="torch")
    pipeline = create_pipeline(PipelineConfig(network=network, prompting=prompting))
    assert pipeline.prompts.engine.runs_beside
    pipeline.close()
