"""TensorRT: every graph is parsed and built, and only what both major versions have is called.

TensorRT-RTX holds NVIDIA's parser and builder and works without a GPU; it stands in where it is
installed (requirements/test-runtime.txt). What the engine does with a plan is tested on a
CPU with lanes that execute the ONNX graph instead.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import threading
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
import torch

from rmpsam_ros.runtime import gpu_engine, tensorrt_build, tensorrt_engine
from rmpsam_ros.runtime.engine import EngineError, EngineInfo
from rmpsam_ros.runtime.export import GRAPH_PARTS, export_graph
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.factory import TENSORRT_FORMS
from rmpsam_ros.runtime.gpu_engine import PROMPT_SLOTS, GpuEngine
from rmpsam_ros.runtime.onnx_engine import OnnxEngine, onnxruntime_form
from rmpsam_ros.runtime.precision import stored_frames
from rmpsam_ros.runtime.quantized_graph import Quantizer
from rmpsam_ros.runtime.tensorrt_build import (
    MAX_SIDE,
    BuildSettings,
    build_plan,
    frame_profiles,
    prompt_profiles,
    tube_profiles,
)
from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.preprocess import Geometry

DATA = Path(__file__).resolve().parents[1] / "data" / "runtime"
CHANNELS = 131
PROFILES = {
    "encoder": tuple({"image": p["image"]} for p in frame_profiles()),
    "decoder": prompt_profiles(CHANNELS),
    "prompt_decoder": prompt_profiles(CHANNELS),
    "tube_decoder": tube_profiles(CHANNELS, 5),
    "frame": frame_profiles(),
}


@pytest.fixture(scope="module")
def rtx() -> types.ModuleType:
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT-RTX is not installed: see requirements/test-runtime.txt"
    )


class AnyRanges(dict):  # type: ignore[type-arg]
    """Some activation range for every layer: enough to build a quantised graph."""

    def __contains__(self, layer: object) -> bool:
        return True

    def __missing__(self, layer: str) -> tuple[float, float]:
        return -3.0, 3.0


def graph_bytes(network: Any, part: Any, form: ExportForm) -> bytes:
    ranges = AnyRanges() if form.quantization != "none" else None
    return export_graph(network, part, form, ranges).SerializeToString()


def build(rtx: types.ModuleType, graph: bytes, part: str, **options: Any) -> bytes:
    lines: list[str] = options.pop("lines", [])
    cancelled = options.pop("cancelled", threading.Event())
    settings = BuildSettings(PROFILES[part][:1], tensor_float_32=True, level=0, **options)
    return build_plan(rtx, graph, settings, lines.append, cancelled)


@pytest.mark.parametrize("part", GRAPH_PARTS)
def test_every_part_builds(rtx, network, part):
    assert len(build(rtx, graph_bytes(network, part, ExportForm("grid_sample")), part)) > 1 << 20


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_every_precision_builds_and_is_smaller(rtx, network, precision):
    plan = build(rtx, graph_bytes(network, "encoder", TENSORRT_FORMS[precision]), "encoder")
    # 12.4 million weights of backbone and neck.
    assert 10e6 < len(plan) < (24e6 if precision == "int8" else 30e6)


def test_the_form_of_onnxruntime_is_refused_with_a_reason(rtx, network):
    graph = graph_bytes(network, "encoder", ExportForm("operator"))
    with pytest.raises(EngineError, match=r"cannot read the graph: DeformConv.*plugin"):
        build(rtx, graph, "encoder")


@pytest.mark.parametrize("graph", [b"", b"no graph"])
def test_something_else_than_a_graph_is_refused(rtx, graph):
    with pytest.raises(EngineError, match=r"cannot read the graph|build failed"):
        build(rtx, graph, "encoder")


def test_a_failing_build_says_why(rtx, graphs):
    profiles = ({"image": tensorrt_build.ShapeRange(*3 * [(1, 4, 64, 64)])},)
    settings = BuildSettings(profiles, tensor_float_32=False, level=0)
    graph = graphs("encoder", ExportForm("grid_sample"))
    with pytest.raises(EngineError, match=r"build failed: .+"):
        build_plan(rtx, graph, settings, print, threading.Event())


def test_a_cancelled_build_ends(rtx, graphs):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(EngineError, match="cancelled"):
        build(rtx, graphs("encoder", ExportForm("grid_sample")), "encoder", cancelled=cancelled)


def test_a_build_reports_its_progress(rtx, graphs, monkeypatch):
    monkeypatch.setattr(tensorrt_build, "_REPORT_INTERVAL", 0.0)
    lines: list[str] = []
    build(rtx, graphs("encoder", ExportForm("grid_sample")), "encoder", lines=lines)
    assert lines and all("building the TensorRT engine: " in line for line in lines)
    percents = [int(line.split()[-2]) for line in lines]
    assert all(0 < percent <= 100 for percent in percents)


def test_the_keyboard_cancels_a_build(graphs, monkeypatch):
    """The build goes on in another thread; an interrupt reaches it as a cancelled build."""
    started, cancelled = threading.Event(), threading.Event()
    ended: list[bool] = []

    def slow_build(*arguments: Any) -> bytes:
        started.set()
        ended.append(cancelled.wait(10))
        return b""

    class InterruptedFuture:
        def result(self, timeout: float) -> bytes:
            assert started.wait(10)
            raise KeyboardInterrupt

    class Executor(tensorrt_build.ThreadPoolExecutor):  # type: ignore[name-defined, misc]
        def submit(self, *arguments: Any) -> Any:
            super().submit(*arguments)
            return InterruptedFuture()

    monkeypatch.setattr(tensorrt_build, "_build", slow_build)
    monkeypatch.setattr(tensorrt_build, "ThreadPoolExecutor", Executor)
    with pytest.raises(KeyboardInterrupt):
        build_plan(None, b"", BuildSettings((), False), print, cancelled)
    assert ended == [True]


@pytest.mark.parametrize(
    ("name", "version", "flags"),
    [("tensorrt", "10.3.0", 2), ("tensorrt", "11.4.0.106", 0), ("tensorrt_rtx", "1.7.1", 0)],
)
def test_networks_are_strongly_typed_in_every_version(name, version, flags):
    kinds = types.SimpleNamespace(STRONGLY_TYPED=1)
    trt = types.SimpleNamespace(
        __name__=name, __version__=version, NetworkDefinitionCreationFlag=kinds
    )
    assert tensorrt_build._network_flags(trt) == flags


# --- the bindings of both major versions -----------------------------------------------------

RECEIVERS = {
    "trt": "module",
    "builder": "Builder",
    "parser": "OnnxParser",
    "error": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "_runtime": "Runtime",
    "ILogger": "ILogger",
    "Severity": "ILogger.Severity",
    "BuilderFlag": "BuilderFlag",
    "MemoryPoolType": "MemoryPoolType",
    "NetworkDefinitionCreationFlag": "NetworkDefinitionCreationFlag",
}


def tensorrt_calls() -> set[tuple[str, str]]:
    """Every attribute that the code takes of an object of TensorRT: (class, attribute)."""
    found = set()
    for module in (tensorrt_build, tensorrt_engine):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
                receiver = getattr(node.value, "id", getattr(node.value, "attr", ""))
                if receiver in RECEIVERS:
                    found.add((RECEIVERS[receiver], node.attr))
    return found


@pytest.mark.parametrize("version", ["10.16.1.11", "11.4.0.106"])
def test_only_what_the_bindings_have_is_called(version):
    api = json.loads((DATA / "tensorrt_api.json").read_text())[version]
    calls = tensorrt_calls()
    assert len(calls) > 30 and {kind for kind, _ in calls} == set(RECEIVERS.values())
    assert {f"{kind}.{name}" for kind, name in calls if name not in api[kind]} == set()


@pytest.mark.parametrize("version", ["10.16.1.11", "11.4.0.106"])
def test_what_is_overridden_exists(version):
    api = json.loads((DATA / "tensorrt_api.json").read_text())[version]
    assert {"phase_start", "step_complete", "phase_finish"} <= set(api["IProgressMonitor"])
    assert "log" in api["ILogger"]


def test_without_tensorrt_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"cannot be imported .* use engine torch"):
        tensorrt_build.load_tensorrt()


# --- what the engine does with its lanes, on a CPU ---------------------------------------------


class OnnxLane:
    """Stands in for an execution context: executes the ONNX graph, reuses its output memory."""

    made: ClassVar[list[tuple[dict[str, Any], int]]] = []

    def __init__(self, trt: Any, engine: Any, device: Any, shapes: Any, profile: int) -> None:
        self._session = engine
        self._outputs: dict[str, torch.Tensor] = {}
        OnnxLane.made.append((dict(shapes), profile))

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        names = [output.name for output in self._session.get_outputs()]
        values = self._session.run(None, {name: t.numpy() for name, t in inputs.items()})
        for name, value in zip(names, values, strict=True):
            self._outputs.setdefault(name, torch.empty(value.shape)).copy_(torch.from_numpy(value))
        return self._outputs


class FakeRuntime:
    def __init__(self, logger: Any) -> None:
        pass

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if plan == b"foreign":
            return None
        return onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])


@pytest.fixture
def fake_trt(monkeypatch) -> Any:
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(tensorrt_engine, "TensorRTLane", OnnxLane)
    OnnxLane.made = []

    class ILogger:
        Severity = types.SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    return types.SimpleNamespace(ILogger=ILogger, Runtime=FakeRuntime)


@pytest.fixture
def engine(fake_trt, graphs, info) -> tensorrt_engine.TensorRTEngine:
    form = onnxruntime_form()
    plans = {part: graphs(part, form) for part in ("frame", "prompt_decoder")}
    profiles = {part: PROFILES[part] for part in plans}
    return tensorrt_engine.TensorRTEngine(fake_trt, plans, profiles, torch.device("cpu"), info)


@pytest.fixture(scope="module")
def reference(graphs) -> OnnxEngine:
    form = onnxruntime_form()
    info = EngineInfo("reference", "fp32", "cpu", "", "")
    return OnnxEngine(graphs("frame", form), graphs("prompt_decoder", form), 2, info)


def many_boxes(count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    return np.sort(rng.uniform(size=(count, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 64, 65, 130])
def test_any_number_of_prompts_gives_that_many_masks(engine, reference, image, count):
    boxes = many_boxes(count)
    actual, expected = engine.run(image, boxes), reference.run(image, boxes)
    assert (actual.prompts is None) == (count == 0)
    late = engine.decode_prompts(actual.features, boxes)
    assert late.mask_logits.shape == (count, 24, 32) and late.iou.shape == (count,)
    if count:
        for prompts in (actual.prompts, late):
            assert prompts.mask_logits.shape == (count, 24, 32)
            assert np.abs(prompts.mask_logits - expected.prompts.mask_logits).mean() < 2e-2
            assert np.abs(prompts.iou - expected.prompts.iou).mean() < 1e-3
    sizes = {shapes["boxes"][1] for shapes, _ in OnnxLane.made}
    assert sizes <= set(PROMPT_SLOTS)


def test_features_outlive_the_next_frame(engine, image):
    first = engine.run(image)
    before = engine.decode_prompts(first.features, many_boxes(2)).mask_logits
    engine.run(np.flip(image, axis=-1).copy())
    after = engine.decode_prompts(first.features, many_boxes(2)).mask_logits
    np.testing.assert_array_equal(before, after)


def test_the_smallest_profile_that_fits_is_used(engine, image):
    engine.run(image)
    engine.run(np.zeros((1, 3, 64, 672), np.float32))
    assert [profile for _, profile in OnnxLane.made] == [0, 1]
    with pytest.raises(EngineError, match="larger than the engine allows"):
        engine.run(np.zeros((1, 3, 32, MAX_SIDE + 32), np.float32))


def test_only_so_many_shapes_keep_their_buffers(engine, monkeypatch):
    monkeypatch.setattr(gpu_engine, "MAX_LANES", 2)
    sizes = [32, 64, 32, 96, 32, 64]
    for width in sizes:
        engine.run(np.zeros((1, 3, 32, width), np.float32))
    assert [shapes["image"][3] for shapes, _ in OnnxLane.made] == [32, 64, 96, 64]


def test_a_foreign_plan_is_refused(fake_trt, info):
    with pytest.raises(tensorrt_engine.PlanRefusedError, match="refuses the engine"):
        tensorrt_engine.TensorRTEngine(
            fake_trt, {"frame": b"foreign"}, {}, torch.device("cpu"), info
        )


def test_a_failure_of_the_gpu_is_an_error_of_this_frame_only(engine, image, monkeypatch):
    engine.run(image)
    real = OnnxLane.run

    def fail(self: OnnxLane, inputs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(OnnxLane, "run", fail)
    with pytest.raises(EngineError, match=r"CUDA out of memory\. Tried"):
        engine.run(image)
    monkeypatch.setattr(OnnxLane, "run", real)
    engine.run(image)
    assert len(OnnxLane.made) == 2  # with new buffers


def test_wrong_input_is_refused_before_the_gpu_sees_it(engine, image):
    with pytest.raises(EngineError, match="multiples of 32"):
        engine.run(image[..., :100])
    with pytest.raises(EngineError, match="prompt boxes"):
        engine.run(image, np.zeros((2, 5), np.float32))
    assert OnnxLane.made == []


def test_a_frame_needs_no_array_of_floats_from_the_host(engine, reference):
    """Bytes go in; label maps come out; the masks themselves stay where they are."""
    frame = stored_frames()[0]
    labels = LabelSet("seven", tuple(Label(i, str(i), i < 4, (0, 0, 0)) for i in range(7)))
    config = FusionConfig(score_threshold=0.1, overlap_threshold=0.0)
    results = []
    for each in (engine, reference):
        prepared, geometry = each.prepare(frame, (128, 96), "bgr")
        objects = each.run(prepared).objects
        results.append(each.fuse(objects, geometry, labels, config))
        if each is engine:
            assert isinstance(prepared, torch.Tensor) and objects._downloaded is None
    actual, expected = results
    assert actual.id_map.shape == frame.shape[:2] and len(expected.segments) > 0
    assert (actual.id_map == expected.id_map).mean() > 0.99


def test_objects_of_another_engine_are_refused(engine, reference, image):
    geometry = Geometry((96, 128), (96, 128), (96, 128))
    objects = reference.run(image).objects
    with pytest.raises(EngineError, match="not from this engine"):
        engine.fuse(objects, geometry, LabelSet("x", (Label(0, "x", True, (0, 0, 0)),)), None)


def test_every_gpu_engine_shares_this(monkeypatch):
    from rmpsam_ros.runtime.torch_engine import TorchGraphEngine

    assert issubclass(TorchGraphEngine, GpuEngine)
    assert TorchGraphEngine.run is GpuEngine.run


def test_quantised_forms_need_ranges(network):
    graph = tensorrt_build  # any object will do: it fails before it is used
    with pytest.raises(ValueError, match=r"ranges are needed"):
        Quantizer(graph, TENSORRT_FORMS["int8"], None)
    with pytest.raises(ValueError, match=r"lack layer 'backbone.stem'"):
        export_graph(network, "encoder", TENSORRT_FORMS["int8"], {})
