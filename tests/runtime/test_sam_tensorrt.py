"""TensorRT for the SAM family without a GPU: lanes that execute the ONNX graph stand in.

That TensorRT's own parser and builder take the graphs is tested in test_sam_export.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from rmpsam_ros.model.sam import build_prompt_model, save_weights
from rmpsam_ros.runtime import EngineConfig, sam_load, sam_tensorrt_engine, tensorrt_build
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.onnx_engine import make_session
from rmpsam_ros.runtime.sam_precision import SamAgreement
from rmpsam_ros.runtime.sam_tensorrt_engine import SamTensorRTEngine
from rmpsam_ros.runtime.tensorrt_engine import PlanRefusedError

NAME = "rwkv_sam_t"
CPU = torch.device("cpu")


class OnnxGraphs:
    """Like the lanes of TensorRT: outputs are overwritten by the next call of the same shapes."""

    refuse: ClassVar[list[bytes]] = []

    def __init__(self, trt: Any, plans: Any, profiles: Any, device: Any, info: Any) -> None:
        for plan in plans.values():
            if plan in self.refuse:
                raise PlanRefusedError("for another GPU")
        self._sessions = {part: make_session(plan, 1) for part, plan in plans.items()}
        self._buffers: dict[Any, dict[str, torch.Tensor]] = {}
        self.profiles = profiles

    def execute(self, part: str, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        for name, tensor in inputs.items():
            allowed = self.profiles[part][0][name]
            sizes = zip(allowed.smallest, tensor.shape, allowed.largest, strict=True)
            assert all(low <= size <= high for low, size, high in sizes), name
            assert tensor.dtype == torch.float32
        session = self._sessions[part]
        names = [one.name for one in session.get_outputs()]
        values = session.run(names, {name: one.numpy() for name, one in inputs.items()})
        key = (part, *(tuple(one.shape) for one in inputs.values()))
        buffers = self._buffers.setdefault(
            key,
            {name: torch.empty(value.shape) for name, value in zip(names, values, strict=True)},
        )
        for name, value in zip(names, values, strict=True):
            buffers[name].copy_(torch.from_numpy(value))
        return buffers

    def close(self) -> None:
        self._sessions.clear()


@pytest.fixture
def builds(monkeypatch) -> list[int]:
    """TensorRT that "builds" a plan by handing back the graph; the sizes of what it built."""
    built: list[int] = []

    def build_plan(trt, graph, settings, progress, cancelled):
        if cancelled.is_set():
            raise EngineError("the TensorRT build was cancelled")
        built.append(len(graph))
        return graph

    trt = SimpleNamespace(__name__="tensorrt", __version__="11.4.0")
    monkeypatch.setattr(tensorrt_build, "load_tensorrt", lambda: trt)
    monkeypatch.setattr(tensorrt_build, "build_plan", build_plan)
    monkeypatch.setattr(sam_load, "gpu_key", lambda device: {"gpu": "none"})
    monkeypatch.setattr(sam_tensorrt_engine, "_Graphs", OnnxGraphs)
    monkeypatch.setattr(OnnxGraphs, "refuse", [])
    good = SamAgreement(1, 20, 1.0, 1.0, 0.0)
    monkeypatch.setattr(sam_load, "compare_sam", lambda *_: good)
    return built


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(build_prompt_model(NAME), path)
    return path


@pytest.fixture
def make_factory(weights, tmp_path):
    def make(cancelled: threading.Event | None = None, lines: list[str] | None = None):
        report = (lines if lines is not None else []).append
        cache = EngineCache(tmp_path / "cache", report)
        return sam_load._SamFactory(
            NAME, weights, EngineConfig(), CPU, cache, report, cancelled or threading.Event()
        )

    return make


def test_it_answers_as_pytorch_and_keeps_what_lanes_overwrite(builds, make_factory):
    factory = make_factory()
    engine = factory.make("tensorrt", "fp32")
    assert isinstance(engine, SamTensorRTEngine) and not engine.supports_multimask
    assert engine.info.engine == "tensorrt 11.4.0" and engine.info.precision == "fp32"
    reference = factory.reference()
    images = torch.randn(2, 1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    first, _ = (engine.encode(image) for image in images)
    assert first.nbytes > 20e6
    points = 1000 * torch.rand(9, 1, 2)  # two portions
    labels = torch.ones(9, 1, dtype=torch.int64)
    answers = engine.decode(first, points, labels)
    engine.decode(first, points[:1] + 100, labels[:1])
    expected = reference.decode(reference.encode(images[0]), points, labels)
    for actual, right in zip(answers, expected, strict=True):
        assert (actual - right).abs().max() <= 5e-5 * right.abs().max()
    engine.close()


def test_plans_are_built_once_and_anew_when_they_are_refused(builds, make_factory):
    make_factory().make("tensorrt", "fp32").close()
    assert len(builds) == 2
    make_factory().make("tensorrt", "fp32").close()
    assert len(builds) == 2
    lines: list[str] = []
    encoder = next(Path(make_factory()._cache._folder).glob(f"{NAME}-tensorrt-encoder*.engine"))
    OnnxGraphs.refuse.append(encoder.read_bytes())
    with pytest.raises(PlanRefusedError):  # the new ones are the same here, and refused again
        make_factory(lines=lines).make("tensorrt", "fp32")
    assert len(builds) == 4 and any("anew: for another GPU" in line for line in lines)


def test_a_cancelled_build_keeps_nothing(builds, make_factory):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(EngineError, match="cancelled"):
        make_factory(cancelled).make("tensorrt", "fp32")
    assert builds == []


def test_a_gpu_tries_tensorrt_in_half_precision_first():
    assert sam_load.CANDIDATES["cuda"][0] == ("tensorrt", "fp16")
    assert {engine for pairs in sam_load.CANDIDATES.values() for engine, _ in pairs} == set(
        sam_load.PACKAGES
    )
