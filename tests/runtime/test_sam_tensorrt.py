"""TensorRT for the SAM family without a GPU: lanes that execute the ONNX graph stand in.

Parser and builder are NVIDIA's, where TensorRT-RTX is installed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from toy_models import SAM as NAME
from toy_models import toy_sam

from rmpsam_ros.export import export_graph
from rmpsam_ros.model.sam import build_prompt_model, save_weights
from rmpsam_ros.runtime import EngineConfig, sam_network
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import RefusedPlanError
from rmpsam_ros.runtime.executors import tensorrt_executor
from rmpsam_ros.runtime.executors.onnxruntime_executor import make_session
from rmpsam_ros.runtime.executors.tensorrt_build import BuildSettings, build_plan
from rmpsam_ros.runtime.executors.tensorrt_executor import TensorRT
from rmpsam_ros.runtime.factory import EngineFactory
from rmpsam_ros.runtime.graph_store import Surroundings
from rmpsam_ros.runtime.load import candidates
from rmpsam_ros.runtime.sam_network import MAX_TOKENS, SamNetwork
from rmpsam_ros.runtime.sam_precision import SamAgreement
from rmpsam_ros.runtime.slots import profile
from rmpsam_ros.segmentation.prompt_types import MAX_POINTS

CPU = torch.device("cpu")


class OnnxLane:
    """Like a lane of TensorRT: its outputs are overwritten by the next call."""

    def __init__(self, trt: Any, session: Any, device: Any, shapes: Any, profile: int) -> None:
        self._session = session
        self._outputs: dict[str, torch.Tensor] = {}

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        assert all(tensor.dtype == torch.float32 for tensor in inputs.values())
        names = [one.name for one in self._session.get_outputs()]
        values = self._session.run(names, {name: one.numpy() for name, one in inputs.items()})
        for name, value in zip(names, values, strict=True):
            self._outputs.setdefault(name, torch.empty(value.shape)).copy_(torch.from_numpy(value))
        return self._outputs


class FakeRuntime:
    refuse: ClassVar[list[bytes]] = []

    def __init__(self, logger: Any) -> None:
        pass

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        return None if plan in self.refuse else make_session(plan, 1)


@pytest.fixture
def builds(monkeypatch) -> list[int]:
    """TensorRT that "builds" a plan by handing back the graph; the sizes of what it built."""
    built: list[int] = []

    def build_plan(trt, graph, settings, progress, cancelled):
        if cancelled.is_set():
            raise EngineError("the TensorRT build was cancelled")
        built.append(len(graph))
        return graph

    class ILogger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    trt = SimpleNamespace(
        __name__="tensorrt", __version__="11.4.0", ILogger=ILogger, Runtime=FakeRuntime
    )
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(tensorrt_executor, "load_tensorrt", lambda: trt)
    monkeypatch.setattr(tensorrt_executor, "build_plan", build_plan)
    monkeypatch.setattr(tensorrt_executor, "gpu_key", lambda device: {"gpu": "none"})
    monkeypatch.setattr(tensorrt_executor, "TensorRTLane", OnnxLane)
    monkeypatch.setattr(FakeRuntime, "refuse", [])
    good = SamAgreement(1, 20, 1.0, 1.0, 0.0)
    monkeypatch.setattr(sam_network, "compare_sam", lambda *_: good)
    return built


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
def make_factory(weights, tmp_path):
    def make(cancelled: threading.Event | None = None, lines: list[str] | None = None):
        report = (lines if lines is not None else []).append
        cache = EngineCache(tmp_path / "cache", report)
        surroundings = Surroundings(CPU, cache, 0, report, cancelled or threading.Event())
        return EngineFactory(SamNetwork(NAME, weights, report), surroundings)

    return make


def test_it_answers_as_pytorch_and_keeps_what_lanes_overwrite(builds, make_factory):
    factory = make_factory()
    engine = factory.make("tensorrt", "fp32")
    assert not engine.supports_multimask
    assert engine.info.engine == "tensorrt 11.4.0" and engine.info.precision == "fp32"
    reference = factory.reference
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


def test_plans_are_built_once_and_anew_when_they_are_refused(builds, make_factory, tmp_path):
    make_factory().make("tensorrt", "fp32").close()
    assert len(builds) == 2
    make_factory().make("tensorrt", "fp32").close()
    assert len(builds) == 2
    lines: list[str] = []
    encoder = next((tmp_path / "cache").glob(f"{NAME}-tensorrt-encoder*.engine"))
    FakeRuntime.refuse.append(encoder.read_bytes())
    with pytest.raises(RefusedPlanError):  # the new ones are the same here, and refused again
        make_factory(lines=lines).make("tensorrt", "fp32")
    assert len(builds) == 4 and any("anew: TensorRT refuses" in line for line in lines)


def test_a_cancelled_build_keeps_nothing(builds, make_factory):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(EngineError, match="cancelled"):
        make_factory(cancelled).make("tensorrt", "fp32")
    assert builds == []


def test_a_gpu_tries_tensorrt_in_half_precision_first(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    order = candidates(EngineConfig(), torch.device("cuda", 0))
    assert order[0] == ("tensorrt", "fp16")
    assert ("tensorrt", "fp32") in order and {engine for engine, _ in order} == {
        "tensorrt",
        "torch",
    }


def test_the_profiles_hold_every_prompt_of_the_node(tmp_path):
    # All clicks of an object, the two corners of a box, and one point of padding.
    assert MAX_TOKENS >= MAX_POINTS + 3
    (ranges,) = sam_profiles(NAME, "decoder")
    assert ranges["points"].largest[:2] == ranges["labels"].largest == (8, MAX_TOKENS)
    assert ranges["cells"].smallest == ranges["cells"].largest


def sam_profiles(name: str, part: str) -> tuple[Any, ...]:
    model = build_prompt_model(name)
    network = SamNetwork(name, Path("none"), print)
    return tuple(
        profile(model.inference_form().part(part).inputs, axes) for axes in network.axes(part)
    )


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT-RTX is not installed: see requirements/test-runtime.txt"
    )


READ_ALWAYS = {
    ("mobile_sam", "encoder", "fp32"),
    ("mobile_sam", "encoder", "fp16"),
    ("mobile_sam", "decoder", "fp32"),
    ("rwkv_sam_t", "encoder", "fp16"),
    ("rwkv_sam_t", "decoder", "fp32"),
}
PRECISIONS = {"encoder": ("fp32", "fp16"), "decoder": ("fp32",)}


@pytest.mark.parametrize(
    ("name", "part", "precision"),
    [
        pytest.param(
            name,
            part,
            precision,
            marks=pytest.mark.exhaustive if (name, part, precision) not in READ_ALWAYS else (),
        )
        for name in ("mobile_sam", "repvit_sam", "rwkv_sam_t")
        for part, precisions in PRECISIONS.items()
        for precision in precisions
    ],
)
def test_tensorrt_reads_every_graph(rtx, name, part, precision):
    graph = export_graph(build_prompt_model(name), part, TensorRT.forms[precision])
    logger = rtx.Logger(rtx.Logger.ERROR)
    network = rtx.Builder(logger).create_network(0)
    parser = rtx.OnnxParser(network, logger)
    parsed = parser.parse(graph.SerializeToString())
    assert parsed, [parser.get_error(index).desc() for index in range(parser.num_errors)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["mobile_sam", "rwkv_sam_t"])
@pytest.mark.parametrize(("part", "precision"), [("encoder", "fp16"), ("decoder", "fp32")])
def test_tensorrt_builds(rtx, name, part, precision):
    graph = export_graph(build_prompt_model(name), part, TensorRT.forms[precision])
    settings = BuildSettings(sam_profiles(name, part), True, level=0)
    graph_bytes = graph.SerializeToString()
    plan = build_plan(rtx, graph_bytes, settings, lambda line: None, threading.Event())
    assert len(plan) > 1 << 20
