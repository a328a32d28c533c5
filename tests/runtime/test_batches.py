"""Images of several cameras in one call: the results of single runs, whatever runs together."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from small_engines import CPU, INFO, ONNXRUNTIME, PARTS, onnx_engine, profiles, torch_engine

from rmpsam_ros.runtime.engine import EngineError, FrameOutput
from rmpsam_ros.runtime.executors.cuda_graphs import CudaGraphExecutor
from rmpsam_ros.runtime.executors.tensorrt_executor import TensorRTExecutor
from rmpsam_ros.runtime.panoptic_engine import PanopticEngine
from rmpsam_ros.runtime.panoptic_network import MAX_SIDE
from rmpsam_ros.runtime.precision import preprocessed_frames
from rmpsam_ros.runtime.slots import BATCH_SLOTS, PROMPT_SLOTS


class OnnxLane:
    """Stands in for a lane of a GPU: executes the ONNX graph, reuses its output memory."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._outputs: dict[str, torch.Tensor] = {}

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        names = [output.name for output in self._session.get_outputs()]
        values = self._session.run(None, {name: t.numpy() for name, t in inputs.items()})
        for name, value in zip(names, values, strict=True):
            self._outputs.setdefault(name, torch.empty(value.shape)).copy_(torch.from_numpy(value))
        return self._outputs


class LaneExecutor(CudaGraphExecutor):
    """What executors on a GPU do with their lanes, on a CPU."""

    def __init__(self, sessions: dict[str, Any]) -> None:
        super().__init__(CPU)
        self.parts = frozenset(sessions)
        self._sessions = sessions
        self.shapes: list[dict[str, Any]] = []

    def make_lane(self, part: Any, shapes: Any) -> Any:
        self.shapes.append(dict(shapes))
        return OnnxLane(self._sessions[part])


@pytest.fixture
def lane_executor(graphs) -> LaneExecutor:
    providers = ["CPUExecutionProvider"]
    return LaneExecutor(
        {
            part: onnxruntime.InferenceSession(graphs(part, ONNXRUNTIME), providers=providers)
            for part in PARTS
        }
    )


@pytest.fixture
def lanes(lane_executor) -> PanopticEngine:
    return PanopticEngine(lane_executor, INFO)


@pytest.fixture
def eager(network, monkeypatch) -> PanopticEngine:
    """Eager PyTorch that does on a CPU what it does on a GPU."""
    engine = torch_engine(network)
    monkeypatch.setattr(engine._executor, "largest_batch", lambda *_: BATCH_SLOTS[-1])
    return engine


@pytest.fixture
def host(graphs) -> PanopticEngine:
    return onnx_engine(graphs)


@pytest.fixture(params=["lanes", "eager", "host"])
def engine(request) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    wide = [image for image, _ in preprocessed_frames(4, limits=(128, 96))]
    small = [image for image, _ in preprocessed_frames(3, first=4, limits=(64, 64))]
    return [wide[0], small[0], wide[1], wide[2], small[1], wide[3]]


def many_boxes(count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    return np.sort(rng.uniform(size=(count, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)


def assert_same(actual: FrameOutput, expected: FrameOutput) -> None:
    # Hard masks inside the network let rounding grow at single pixels: hence means.
    for part in ("objects", "prompts"):
        one, other = getattr(actual, part), getattr(expected, part)
        assert (one is None) == (other is None)
        for name in ("class_logits", "mask_logits", "queries", "iou"):
            if hasattr(other, name):
                a, b = getattr(one, name), getattr(other, name)
                assert a.shape == b.shape, name
                assert not a.size or np.abs(a - b).mean() < 2e-2, name


def test_every_image_gets_what_it_gets_alone(engine, frames):
    boxes = [None, many_boxes(2), many_boxes(5), None, many_boxes(0), many_boxes(17)]
    together = engine.run_batch(frames, boxes)
    assert len(together) == len(frames)
    for index, output in enumerate(together):
        alone = engine.run(frames[index], boxes[index])
        assert_same(output, alone)
        late = engine.decode_prompts(output.features, many_boxes(3))
        expected = engine.decode_prompts(alone.features, many_boxes(3))
        assert np.abs(late.mask_logits - expected.mask_logits).mean() < 2e-2


def test_images_differ_enough_to_notice_a_mix_up(host, frames):
    outputs = [host.run(frame) for frame in (frames[0], frames[2])]
    difference = outputs[0].objects.class_logits - outputs[1].objects.class_logits
    assert np.abs(difference).mean() > 0.1


def test_equal_sizes_run_together_filled_up_to_a_slot(lanes, lane_executor, frames):
    shapes = lane_executor.shapes
    lanes.run_batch(frames, [many_boxes(2), *[None] * 5])
    assert [own["image"][0] for own in shapes] == [4, 2]
    assert shapes[0]["boxes"] == (4, PROMPT_SLOTS[1], 4)
    shapes.clear()
    lanes.run_batch([frames[0]] * 5, [None] * 5)
    assert [own["image"][0] for own in shapes] == [4, 1]
    shapes.clear()
    lanes.run_batch([frames[0]] * 3, [None] * 3)
    assert shapes == []  # three are filled up to four, whose lane there is


def test_more_prompts_than_slots_in_one_image_of_a_batch(lanes, frames):
    count = PROMPT_SLOTS[-1] + 3
    first, second = lanes.run_batch([frames[0], frames[2]], [many_boxes(count), many_boxes(1)])
    assert first.prompts.iou.shape == (count,) and second.prompts.iou.shape == (1,)
    assert_same(first, lanes.run(frames[0], many_boxes(count)))
    assert_same(second, lanes.run(frames[2], many_boxes(1)))


@pytest.mark.parametrize("bad", ["nan", "shape", "boxes"])
def test_a_bad_image_fails_alone(engine, frames, bad):
    images = [frames[0], frames[2].copy(), frames[3]]
    boxes: list[Any] = [None, many_boxes(1), None]
    if bad == "nan":
        images[1][0, 1, 5, 7] = np.nan
    elif bad == "shape":
        images[1] = images[1][..., :100]
    else:
        boxes[1] = np.zeros((2, 5), np.float32)
    good, failed, good_too = engine.run_batch(images, boxes)
    expected = {"nan": "not finite", "shape": "multiples of 32", "boxes": "prompt boxes"}
    assert isinstance(failed, EngineError) and expected[bad] in str(failed)
    assert_same(good, engine.run(images[0]))
    assert_same(good_too, engine.run(images[2]))


def test_a_gpu_without_memory_for_a_batch_runs_one_by_one(lanes, frames, monkeypatch):
    real = OnnxLane.run
    tried: list[int] = []

    def run(self: OnnxLane, inputs: dict[str, torch.Tensor]) -> Any:
        tried.append(len(inputs["image"]))
        if len(inputs["image"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, inputs)

    monkeypatch.setattr(OnnxLane, "run", run)
    for _ in range(2):
        outputs = lanes.run_batch([frames[0], frames[2]], [None, None])
        assert all(isinstance(output, FrameOutput) for output in outputs)
    assert tried == [2, 1, 1, 1, 1]  # what has failed is not tried again with every frame


def test_when_everything_fails_every_image_gets_the_error(lanes, frames, monkeypatch):
    def run(self: OnnxLane, inputs: dict[str, torch.Tensor]) -> Any:
        raise RuntimeError("CUDA error: device-side assert")

    monkeypatch.setattr(OnnxLane, "run", run)
    outputs = lanes.run_batch([frames[0], frames[2]], [None, None])
    assert all(isinstance(o, EngineError) and "the GPU failed" in str(o) for o in outputs)


def test_nothing_to_do_and_too_few_boxes(engine, frames):
    assert engine.run_batch([], []) == []
    with pytest.raises(ValueError, match="1 images came with 2 items of boxes"):
        engine.run_batch([frames[0]], [None, None])


def test_tensorrt_runs_together_what_its_profiles_allow(monkeypatch, network):
    class FakeTrt:
        class ILogger:
            pass

        class Runtime:
            def __init__(self, logger: Any) -> None: ...

    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    executor = TensorRTExecutor(FakeTrt, {}, profiles(network), CPU)
    engine = PanopticEngine(executor, INFO)
    for size, expected in (
        ((480, 640), BATCH_SLOTS[-1]),
        ((640, 640), BATCH_SLOTS[-1]),
        ((480, 672), 1),
        ((MAX_SIDE, MAX_SIDE), 1),
        ((MAX_SIDE + 32, 32), 1),
    ):
        assert engine.largest_group(np.zeros((1, 3, *size), np.float32)) == expected, size
    assert engine.largest_group(np.zeros((3, 32, 32), np.float32)) == 1
