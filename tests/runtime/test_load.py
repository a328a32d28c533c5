"""From a configuration to an engine: selection, fallback, and what is said about it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_models import toy_network

from rmpsam_ros.model import random_text_embeddings, save_checkpoint
from rmpsam_ros.runtime import EngineConfig, EngineError, load_engine, panoptic_network
from rmpsam_ros.runtime import back_end as back_end_module
from rmpsam_ros.runtime.back_end import back_ends
from rmpsam_ros.runtime.network import load_network, read_text_embeddings
from rmpsam_ros.runtime.precision import Agreement

CLASSES = 7
PERFECT = Agreement(4, 1.0, 1.0, 1.0, 0.0, 1.0)
TOO_FAR = Agreement(4, 0.5, 0.5, 0.5, 0.5, 0.5)


@pytest.fixture(autouse=True)
def few_frames(monkeypatch) -> None:
    monkeypatch.setattr(panoptic_network, "CALIBRATION_FRAMES", 1)
    monkeypatch.setattr(panoptic_network, "CHECK_FRAMES", 1)


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    save_checkpoint(network, folder / "net.safetensors")
    table = random_text_embeddings("runtime.vocabulary", CLASSES, 2)
    save_file({"table": table}, folder / "table.safetensors")
    return {
        "weights": str(folder / "net.safetensors"),
        "text_embeddings": str(folder / "table.safetensors"),
    }


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache") / "engines")


@pytest.fixture
def compared(monkeypatch) -> list[str]:
    """Replace the comparison on frames: int8 is too far off; returns what was compared."""
    precisions: list[str] = []

    def compare(engine: Any, reference: Any, frames: Any) -> Agreement:
        precisions.append(engine.info.precision)
        return TOO_FAR if engine.info.precision == "int8" else PERFECT

    monkeypatch.setattr(panoptic_network, "compare", compare)
    return precisions


def load(lines: list[str] | None = None, **options: Any) -> Any:
    return load_engine(
        EngineConfig(device="cpu", num_threads=1, **options),
        CLASSES,
        (lines if lines is not None else []).append,
    )


def test_random_weights_run_in_fp32_on_onnxruntime_and_say_so(cache_folder):
    lines: list[str] = []
    engine = load(lines, cache_folder=cache_folder)
    assert engine.info.precision == "fp32" and engine.info.engine.startswith("onnxruntime 1.")
    assert "random weights" in str(engine.info) and any("random weights" in x for x in lines)
    assert "of pixels" in engine.info.agreement  # really compared, on real frames
    again: list[str] = []
    assert load(again, cache_folder=cache_folder).info == engine.info
    assert not any("writing" in line or "comparing" in line for line in again)


def test_int8_that_is_too_far_off_gives_way_to_fp32(weights, cache_folder, compared):
    lines: list[str] = []
    options = {"cache_folder": cache_folder, "engine": "onnxruntime", "precision": "int8"}
    engine = load(lines, **weights, **options)
    assert engine.info.precision == "fp32" and compared == ["int8", "fp32"]
    assert engine.info.weights == "net.safetensors"
    (line,) = [line for line in lines if "not executed" in line]
    assert "int8" in line and "pixels 0.5" in line
    # The verdict is kept: no second comparison, the same choice, and it is said again.
    assert load(**weights, **options).info == engine.info
    assert compared == ["int8", "fp32"]


def test_int8_runs_where_it_agrees(weights, cache_folder, monkeypatch, tmp_path, image):
    monkeypatch.setattr(panoptic_network, "compare", lambda *arguments: PERFECT)
    engine = load(**weights, cache_folder=str(tmp_path / "other"), precision="int8")
    assert engine.info.precision == "int8" and "100.00% of pixels" in engine.info.agreement
    assert np.isfinite(engine.run(image).objects.class_logits).all()


def test_int8_is_tried_only_where_it_is_asked_for(weights, cache_folder, compared):
    lines: list[str] = []
    load(lines, **weights, cache_folder=cache_folder, engine="onnxruntime")
    assert compared in ([], ["fp32"]) and not any("int8" in line for line in lines)


def test_a_network_without_a_form_in_int8_says_so(tmp_path):
    lines: list[str] = []
    with toy_network() as name:
        options = {"engine": "onnxruntime", "precision": "int8", "model": name}
        engine = load(lines, cache_folder=str(tmp_path / "cache"), **options)
    assert engine.info.precision == "fp32"
    assert f"{name} has no form in int8" in "\n".join(lines)


def test_without_onnxruntime_pytorch_runs(monkeypatch, cache_folder):
    real = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        return None if name in ("onnxruntime", "openvino") else real(name)

    monkeypatch.setattr(back_end_module.importlib.util, "find_spec", find_spec)
    lines: list[str] = []
    engine = load(lines, cache_folder=cache_folder)
    assert engine.info.engine.startswith("torch") and engine.info.agreement == ""
    assert lines[-1].endswith("faster with the Python packages onnxruntime, or openvino")
    with pytest.raises(EngineError, match="needs the Python package onnxruntime"):
        load(engine="onnxruntime", cache_folder=cache_folder)


def test_a_failure_inside_the_build_gives_way_to_the_next_engine(monkeypatch, tmp_path):
    def fail(*arguments: Any) -> None:
        raise EngineError("the builder gave up")

    for name in ("onnxruntime", "openvino"):
        monkeypatch.setattr(back_ends()[name], "load", fail)
    lines: list[str] = []
    engine = load(lines, cache_folder=str(tmp_path / "cache"))
    assert engine.info.engine.startswith("torch")
    assert any("the builder gave up" in line for line in lines)
    with pytest.raises(EngineError, match="no engine can be used: the builder gave up"):
        load(engine="onnxruntime", cache_folder=str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"model": "rmpsam_r99"}, "rmpsam_r18"),
        ({"engine": "abacus"}, "'abacus' is unknown"),
        ({"engine": "tensorrt"}, "does not run on cpu"),
        ({"precision": "fp8"}, "'fp8' is unknown"),
        ({"engine": "torch", "precision": "int8"}, "no precision 'int8' here"),
        ({"num_threads": -1}, "num_threads is -1"),
        ({"weights": "/no/file.safetensors"}, "does not exist"),
        ({"weights": "/no/file.pth", "text_embeddings": "/no/table.npy"}, "does not exist"),
        ({"weights": "/"}, "not a file"),
        ({"text_embeddings": "/no/table.npy"}, "set both or neither"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(options, what, cache_folder):
    options = {"num_threads": 1, "device": "cpu", **options}
    with pytest.raises(EngineError, match=what) as caught:
        load_engine(EngineConfig(cache_folder=cache_folder, **options), CLASSES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (random_text_embeddings("x", CLASSES + 1, 2), "has 8 classes"),
        (torch.zeros(CLASSES, 2, 768), "norm"),
        (torch.full((CLASSES, 2, 768), torch.nan), "not finite"),
        (torch.zeros(CLASSES, 2, 512), r"\(7, 2, 512\)"),
        (torch.zeros(CLASSES, 2, 768, dtype=torch.int64), "int64"),
    ],
)
def test_a_class_table_that_does_not_fit_is_refused(weights, tmp_path, table, what):
    path = tmp_path / "table.safetensors"
    save_file({"table": table}, path)
    with pytest.raises(EngineError, match=what):
        load(weights=weights["weights"], text_embeddings=str(path))


def test_weights_with_their_own_class_table_need_no_other(network, weights, tmp_path):
    tensors = load_file(weights["weights"])
    table = random_text_embeddings("inside", CLASSES, 1)
    path = tmp_path / "with_table.safetensors"
    save_file({**tensors, "text_embeddings": table.half()}, path)
    model = load_network(EngineConfig(weights=str(path)), CLASSES, print)
    torch.testing.assert_close(model.classifier.text_embeddings, table, atol=1e-3, rtol=0)
    both = EngineConfig(weights=str(path), text_embeddings=weights["text_embeddings"])
    other = load_network(both, CLASSES, print)
    assert other.classifier.text_embeddings.shape == (CLASSES, 2, 768)
    with pytest.raises(EngineError, match=r"with_table\.safetensors' has 7 classes"):
        load_network(EngineConfig(weights=str(path)), CLASSES + 1, print)


def test_weights_of_another_network_are_refused_in_one_line(weights):
    config = EngineConfig(model="rmpsam_r50", **weights)
    with pytest.raises(EngineError, match="does not fit this network") as caught:
        load_network(config, CLASSES, print)
    assert "\n" not in str(caught.value)


def test_weights_without_any_class_table_are_refused(weights):
    with pytest.raises(EngineError, match="need a class table"):
        load_network(EngineConfig(weights=weights["weights"]), CLASSES, print)


def test_tables_of_all_kinds_are_read(weights, tmp_path: Path):
    table = random_text_embeddings("x", CLASSES, 1)
    np.save(tmp_path / "table.npy", table[:, 0].numpy())
    torch.save(table, tmp_path / "table.pth")
    save_file({"any name": table}, tmp_path / "table.safetensors")
    for suffix in ("npy", "pth", "safetensors"):
        torch.testing.assert_close(read_text_embeddings(tmp_path / f"table.{suffix}"), table)
