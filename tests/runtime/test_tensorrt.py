"""TensorRT engines: what they do with a plan, with lanes that execute the ONNX graph instead."""

from __future__ import annotations

import contextlib
import types
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
import torch
from small_engines import CPU, INFO, ONNXRUNTIME, PARTS, TUBE_PARTS, onnx_engine, profiles

from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import RefusedPlanError
from rmpsam_ros.runtime.executors import cuda_graphs, tensorrt_executor
from rmpsam_ros.runtime.executors.tensorrt_executor import TensorRTExecutor
from rmpsam_ros.runtime.panoptic_engine import PanopticEngine
from rmpsam_ros.runtime.panoptic_network import MAX_SIDE
from rmpsam_ros.runtime.precision import stored_frames
from rmpsam_ros.runtime.slots import PROMPT_SLOTS
from rmpsam_ros.runtime.steps import DeviceSteps
from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.preprocess import Letterbox


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
    monkeypatch.setattr(tensorrt_executor, "TensorRTLane", OnnxLane)
    OnnxLane.made = []

    class ILogger:
        Severity = types.SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    return types.SimpleNamespace(ILogger=ILogger, Runtime=FakeRuntime)


def make_engine(fake_trt, graphs, network, parts) -> PanopticEngine:
    plans = {part: graphs(part, ONNXRUNTIME) for part in parts}
    executor = TensorRTExecutor(fake_trt, plans, profiles(network, parts), CPU)
    return PanopticEngine(executor, INFO, DeviceSteps(CPU))


@pytest.fixture
def engine(fake_trt, graphs, network) -> PanopticEngine:
    return make_engine(fake_trt, graphs, network, PARTS)


@pytest.fixture(scope="module")
def reference(graphs) -> PanopticEngine:
    return onnx_engine(graphs)


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
    monkeypatch.setattr(cuda_graphs, "MAX_LANES", 2)
    sizes = [32, 64, 32, 96, 32, 64]
    for width in sizes:
        engine.run(np.zeros((1, 3, 32, width), np.float32))
    assert [shapes["image"][3] for shapes, _ in OnnxLane.made] == [32, 64, 96, 64]


def test_tubes(fake_trt, engine, graphs, network, image):
    with_tubes = make_engine(fake_trt, graphs, network, TUBE_PARTS)
    features = [
        with_tubes.run(one).features for one in (image, np.flip(image, axis=-1).copy(), image)
    ]
    tube = with_tubes.decode_tube(features)
    expected = onnx_engine(graphs, parts=TUBE_PARTS).decode_tube(features)
    assert len(tube) == 3
    for actual, other in zip(tube, expected, strict=True):
        assert actual.mask_logits.shape == (100, 24, 32)
        assert np.abs(actual.mask_logits - other.mask_logits).mean() < 2e-2
        np.testing.assert_allclose(actual.queries, other.queries, atol=1e-3)
    labels = LabelSet("test", tuple(Label(k, f"{k}", True, (0, 0, 0)) for k in range(7)))
    geometry = Letterbox((96, 128), (96, 128), (96, 128))
    assert with_tubes.fuse(tube[-1], geometry, labels, FusionConfig(0.0, 0.0)).id_map.any()
    with pytest.raises(EngineError, match="larger than the engine allows"):
        with_tubes.decode_tube([*features, features[0]])
    with pytest.raises(EngineError, match="clip_frames"):
        engine.decode_tube(features)


def test_a_foreign_plan_is_refused(fake_trt):
    with pytest.raises(RefusedPlanError, match="refuses the engine"):
        TensorRTExecutor(fake_trt, {"frame": b"foreign"}, {}, CPU)


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
            assert isinstance(prepared, torch.Tensor) and objects._mask_logits is None
    actual, expected = results
    assert actual.id_map.shape == frame.shape[:2] and len(expected.segments) > 0
    assert (actual.id_map == expected.id_map).mean() > 0.99


def test_objects_of_another_engine_are_refused(engine, reference, image):
    geometry = Letterbox((96, 128), (96, 128), (96, 128))
    objects = reference.run(image).objects
    with pytest.raises(EngineError, match="not from this engine"):
        engine.fuse(objects, geometry, LabelSet("x", (Label(0, "x", True, (0, 0, 0)),)), None)
