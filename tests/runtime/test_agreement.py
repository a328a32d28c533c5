"""Every engine that runs on this CPU gives the results of fp32 PyTorch on twenty real frames."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from rmpsam_ros.runtime import EngineConfig, load_engine
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.network import label_set_of, load_network
from rmpsam_ros.runtime.onnx_engine import OnnxEngine, onnxruntime_form
from rmpsam_ros.runtime.precision import (
    Remembered,
    compare,
    panoptic_codes,
    preprocessed_frames,
    shortcomings,
)
from rmpsam_ros.runtime.torch_engine import TorchEngine

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


def onnxruntime_engine(graphs: Any, info: Any) -> OnnxEngine:
    form = onnxruntime_form()
    return OnnxEngine(graphs("frame", form), graphs("prompt_decoder", form), 2, info)


def onnxruntime_grid_sample_engine(graphs: Any, info: Any) -> OnnxEngine:
    form = ExportForm("grid_sample")
    return OnnxEngine(graphs("frame", form), graphs("prompt_decoder", form), 2, info)


def openvino_engine(graphs: Any, info: Any) -> Any:
    from rmpsam_ros.runtime.openvino_engine import OpenVINOEngine

    parts = ("encoder", "decoder", "prompt_decoder")
    all_graphs = {part: graphs(part, ExportForm("grid_sample")) for part in parts}
    return OpenVINOEngine(all_graphs, "fp32", 2, info)


@pytest.fixture(scope="module")
def frames() -> list[Any]:
    return preprocessed_frames(20, limits=(224, 160))


@pytest.fixture(scope="module")
def reference(network) -> Remembered:
    """Fp32 PyTorch, run once per frame for all comparisons."""
    network = copy.deepcopy(network)
    return Remembered(TorchEngine(network, torch.device("cpu"), "rmpsam_r18", "random"))


@pytest.mark.parametrize(
    "make_engine",
    [
        onnxruntime_engine,
        onnxruntime_grid_sample_engine,
        pytest.param(openvino_engine, marks=needs_openvino),
    ],
)
def test_fp32_engines_agree_on_twenty_frames(graphs, info, frames, reference, make_engine):
    agreement = compare(make_engine(graphs, info), reference, frames)
    assert agreement.frames == 20
    assert agreement.pixels >= 0.995
    assert shortcomings(agreement, "fp32") == ""


def test_there_is_something_to_agree_on(frames, reference):
    covered = [
        (panoptic_codes(reference.run(image).objects, geometry) > 0).mean()
        for image, geometry in frames
    ]
    assert np.mean(covered) > 0.5


@needs_openvino
def test_the_demo_model_in_bf16_agrees_with_fp32(frames, tmp_path):
    """The reduced precision that the node chooses for it, with weights that mean something."""
    config = EngineConfig(
        weights="demo",
        engine="openvino",
        precision="bf16",
        device="cpu",
        num_threads=2,
        cache_folder=str(tmp_path),
    )
    num_classes = label_set_of(config, "").num_classes
    network = load_network(config, num_classes, lambda line: None)
    demo = Remembered(TorchEngine(network, torch.device("cpu"), "demo model", "demo"))
    engine = load_engine(config, num_classes)
    try:
        assert engine.info.precision == "bf16"
        assert compare(engine, demo, frames).pixels >= 0.98
    finally:
        engine.close()
