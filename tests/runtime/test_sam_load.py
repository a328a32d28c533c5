"""How an engine of the SAM family is chosen, kept, checked, and what happens where one fails."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_models import SAM as NAME
from toy_models import toy_sam

from rmpsam_ros.model.sam import build_prompt_model, save_weights
from rmpsam_ros.runtime import EngineConfig, EngineError, sam_network
from rmpsam_ros.runtime import back_end as back_end_module
from rmpsam_ros.runtime.back_end import back_end
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.executors import onnxruntime_executor
from rmpsam_ros.runtime.load import candidates, load_sam_engine
from rmpsam_ros.runtime.priority import NICENESS
from rmpsam_ros.runtime.sam_engine import SamFeatures
from rmpsam_ros.runtime.sam_network import UnusableWeightsError
from rmpsam_ros.runtime.sam_precision import SamAgreement, compare_sam, sam_shortcomings

GOOD = SamAgreement(1, 20, 1.0, 0.99, 0.0)


@pytest.fixture(scope="module", autouse=True)
def _toy() -> Iterator[None]:
    with toy_sam():
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(build_prompt_model(NAME), path)
    return path


@pytest.fixture
def config(tmp_path) -> EngineConfig:
    return EngineConfig(
        device="cpu",
        engine="onnxruntime",
        cache_folder=str(tmp_path / "cache"),
        num_threads=1,
    )


@pytest.fixture
def agreement(monkeypatch) -> list[SamAgreement]:
    """What the comparison gives; it is done in a test of its own."""
    results = [GOOD]
    monkeypatch.setattr(sam_network, "compare_sam", lambda *_: results[0])
    return results


def test_it_is_built_and_compared_once_and_then_needs_no_pytorch_model(
    weights, config, agreement, monkeypatch
):
    lines: list[str] = []
    engine = load_sam_engine(NAME, weights, config, lines.append)
    assert not engine.supports_multimask
    assert engine.info.engine.startswith("onnxruntime") and engine.info.agreement == str(GOOD)
    assert (engine.info.model, engine.info.weights) == (NAME, "small.safetensors")
    first = [line.split()[0] for line in lines]
    assert first == ["writing", "loading", "writing", "comparing"]
    engine.close()

    monkeypatch.setattr(sam_network, "load_prompt_model", None)
    monkeypatch.setattr(sam_network, "compare_sam", None)
    lines.clear()
    again = load_sam_engine(NAME, weights, config, lines.append)
    assert again.info == engine.info and lines == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows priorities of threads")
def test_its_threads_come_after_those_of_the_network(weights, config, agreement):
    def niceness() -> dict[str, int]:
        found = {}
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # threads of other tests end meanwhile
                stat = (task / "stat").read_text().rpartition(")")[2]
                found[task.name] = int(stat.split()[16])
        return found

    before = niceness()
    engine = load_sam_engine(NAME, weights, replace(config, num_threads=2))
    new = {value for name, value in niceness().items() if name not in before}
    assert new == {min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)}
    engine.close()


def test_other_weights_and_other_code_are_built_anew(
    weights, config, agreement, tmp_path, monkeypatch
):
    def entries() -> set[str]:
        return {path.name for path in Path(config.cache_folder).glob("*.engine")}

    load_sam_engine(NAME, weights, config).close()
    first = entries()
    assert len(first) == 4  # two graphs, their shapes and the comparison
    other = tmp_path / "other.safetensors"
    state = load_file(weights)
    state["mask_decoder.iou_token.weight"] += 1
    save_file(state, other)
    load_sam_engine(NAME, other, config).close()
    second = entries()
    assert len(second) == 8
    monkeypatch.setattr(sam_network, "exporter_key", lambda: {"sources": "other code"})
    load_sam_engine(NAME, other, config).close()
    assert len(entries()) == 12
    key = json.loads(next(Path(config.cache_folder).glob("*decoder*.json")).read_text())["key"]
    assert {"model", "weights", "rmpsam_ros", "sources", "part", "form"} <= set(key)


def test_engine_torch_tries_nothing_else(weights, config, agreement):
    lines: list[str] = []
    chosen = EngineConfig(device="cpu", cache_folder=config.cache_folder, engine="torch")
    engine = load_sam_engine(NAME, weights, chosen, lines.append)
    assert engine.info.engine.startswith("torch")
    assert [line.split()[0] for line in lines] == ["loading"]


def _no_package(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        back_end_module.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "onnxruntime" else real(name, *rest),
    )


def _no_export(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("it has a part\nthat nobody knows")

    monkeypatch.setattr(sam_network, "export_graph", refuse)


def _no_session(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("ONNX Runtime does not accept the graph")

    monkeypatch.setattr(onnxruntime_executor, "make_session", refuse)


def _broken_package(monkeypatch) -> None:
    def refuse() -> str:
        raise ImportError("a library is missing")

    monkeypatch.setattr(back_end("onnxruntime"), "version", refuse)


def _wrong_results(monkeypatch) -> None:
    monkeypatch.setattr(sam_network, "compare_sam", lambda *_: SamAgreement(1, 20, 0.9, 0.1, 0.3))


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (_no_export, "cannot be exported: it has a part that nobody knows"),
        (_no_session, "does not accept the graph"),
        (_broken_package, "a library is missing"),
        (_wrong_results, "too far .* mask_iou 0.9000 .*score_error 0.3000"),
    ],
)
def test_where_it_fails_pytorch_runs_and_one_line_says_why(
    weights, config, agreement, monkeypatch, break_it, reason
):
    break_it(monkeypatch)
    lines: list[str] = []
    engine = load_sam_engine(NAME, weights, config, lines.append)
    assert engine.info.engine.startswith("torch")
    told = [line for line in lines if line.startswith(f"{NAME} is not executed by onnxruntime")]
    assert len(told) == 1 and "\n" not in told[0]
    assert re.search(reason, told[0])


def test_a_named_engine_that_is_not_installed_is_an_error(weights, config, monkeypatch):
    """The network could not be executed by it either."""
    _no_package(monkeypatch)
    with pytest.raises(EngineError, match="needs the Python package onnxruntime"):
        load_sam_engine(NAME, weights, config)


def test_the_fastest_that_agrees_is_chosen_as_for_the_network(
    weights, config, agreement, monkeypatch
):
    order = candidates(replace(config, engine="auto"), torch.device("cpu"))
    assert order[-1] == ("torch", "fp32") and {"openvino", "onnxruntime"} <= dict(order).keys()
    compared: list[str] = []

    def compare(engine, reference, count):
        compared.append(f"{engine.info.engine.split()[0]} {engine.info.precision}")
        return GOOD if "onnxruntime" in compared[-1] else SamAgreement(1, 20, 0.9, 0.1, 0.3)

    monkeypatch.setattr(sam_network, "compare_sam", compare)
    engine = load_sam_engine(NAME, weights, replace(config, engine="auto"))
    assert engine.info.engine.startswith("onnxruntime")
    before = order[: order.index(("onnxruntime", "fp32")) + 1]
    assert list(dict.fromkeys(compared)) == [" ".join(pair) for pair in before]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read"), (b"no weights", "."), (b"", ".")],
)
def test_bad_weights_are_no_matter_of_the_engine(config, agreement, tmp_path, content, reason):
    path = tmp_path / "bad.safetensors"
    if content is not None:
        path.write_bytes(content)
    lines: list[str] = []
    with pytest.raises(UnusableWeightsError, match=reason) as error:
        load_sam_engine(NAME, path, config, lines.append)
    assert "\n" not in str(error.value) and not any("not executed" in line for line in lines)


def test_weights_of_another_model_are_refused(weights, config, agreement):
    with pytest.raises(UnusableWeightsError, match="does not fit this model"):
        load_sam_engine("rwkv_sam_t", weights, config)


def test_an_unknown_model_or_device_is_refused(weights, config):
    with pytest.raises(EngineError, match="'abacus' is unknown; use mobile_sam"):
        load_sam_engine("abacus", weights, config)
    with pytest.raises(EngineError, match="device 'tpu'"):
        load_sam_engine(NAME, weights, EngineConfig(device="tpu"))


def test_a_cancelled_build_does_not_go_on_with_pytorch(weights, config, agreement, monkeypatch):
    _no_session(monkeypatch)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(EngineError, match="does not accept"):
        load_sam_engine(NAME, weights, config, cancelled=cancelled)


class Scripted:
    """Masks of a given size of object, and a given quality."""

    supports_multimask = True
    info = EngineInfo("script", "fp32", "cpu", "none", "none")

    def __init__(self, columns: int, quality: float) -> None:
        self.columns, self.quality, self.asked = columns, quality, []

    def encode(self, image):
        return SamFeatures({})

    def decode(self, features, points, labels, boxes=None, mask_input=None, multimask=False):
        self.asked.append((points, boxes, multimask))
        count, masks = len(points), 3 if multimask else 1
        logits = torch.full((count, masks, 256, 256), -1.0)
        logits[..., : self.columns] = 1.0
        return logits, torch.full((count, masks), self.quality)

    def close(self):
        pass


def test_the_comparison_asks_clicks_and_boxes_and_measures_masks():
    right, wrong = Scripted(100, 0.9), Scripted(80, 0.7)
    found = compare_sam(wrong, right, 2)
    assert found.frames == 2 and found.masks == 2 * (9 * 3 + 2)
    assert found.mask_iou == pytest.approx(0.8) == found.least_mask_iou
    assert found.score_error == pytest.approx(0.2)
    assert {len(points) for points, _, _ in right.asked} == {9, 2}
    assert any(boxes is not None for _, boxes, _ in right.asked)
    assert compare_sam(right, right, 1).mask_iou == 1.0
    assert compare_sam(Scripted(0, 0.5), Scripted(0, 0.5), 1).mask_iou == 1.0  # empty masks agree


@pytest.mark.parametrize(
    ("mask_iou", "score_error", "precision", "good"),
    [
        (1.0, 0.0, "fp32", True),
        (0.98, 0.0, "fp32", False),
        (0.98, 0.02, "fp16", True),
        (0.94, 0.0, "fp16", False),
        (1.0, 0.02, "fp32", False),
        (float("nan"), 0.0, "fp32", False),
        (1.0, float("nan"), "fp16", False),
    ],
)
def test_limits_of_the_comparison(mask_iou, score_error, precision, good):
    found = SamAgreement(1, 1, mask_iou, mask_iou, score_error)
    assert (sam_shortcomings(found, precision) == "") == good


@pytest.mark.slow
def test_mobile_sam_agrees_with_pytorch_on_real_frames(config):
    from rmpsam_ros.weights_store import find_weights

    engine = load_sam_engine("mobile_sam", find_weights("mobile_sam"), config)
    assert engine.supports_multimask
    assert "mask IoU 1.0000" in engine.info.agreement or "0.999" in engine.info.agreement
