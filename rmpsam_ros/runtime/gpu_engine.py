"""Parts of all GPU engines: prompt slots, and a captured CUDA graph per input shape."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from rmpsam_ros.runtime.engine import (
    Batches,
    ChannelOrder,
    EngineError,
    EngineInfo,
    FrameOutput,
    ObjectOutput,
    PromptOutput,
    check_boxes,
    check_finite,
    check_image,
    check_tube,
)
from rmpsam_ros.runtime.export_form import GraphPart
from rmpsam_ros.runtime.gpu_steps import fuse_on_device, preprocess_on_device
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, PanopticResult
from rmpsam_ros.segmentation.preprocess import Geometry

PROMPT_SLOTS = (1, 16, 64)
"""Sizes to which the prompts of one pass are filled up; more than the last are split."""

BATCH_SLOTS = (1, 2, 4)
"""Sizes to which a batch is filled up; more images than the last are split."""

MAX_LANES = 8
"""Input shapes that keep their buffers; beyond, the least recently used one is given up."""

WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)  # fills unused prompt slots

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Tensors: TypeAlias = Mapping[str, torch.Tensor]
Image: TypeAlias = NDArray[np.float32] | torch.Tensor


class DeviceObjects(ObjectOutput):
    """Object queries whose masks stay on the GPU until somebody asks for them.

    Attributes:
        classes, masks: class and mask logits on the device.
    """

    __slots__ = ("_downloaded", "classes", "masks")
    classes: torch.Tensor
    masks: torch.Tensor
    _downloaded: NDArray[np.float32] | None

    def __init__(
        self, classes: torch.Tensor, masks: torch.Tensor, queries: NDArray[np.float32]
    ) -> None:
        values = {
            "class_logits": classes.cpu().numpy(),
            "queries": queries,
            "classes": classes,
            "masks": masks,
            "_downloaded": None,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def mask_logits(self) -> NDArray[np.float32]:
        """(N, h, w) float32, downloaded when it is first asked for."""
        masks = self._downloaded
        if masks is None:
            masks = np.asarray(self.masks.cpu().numpy(), np.float32)
            object.__setattr__(self, "_downloaded", masks)
        return masks


class GpuEngine(Batches):
    """Runs frames and late prompts through lanes, one for every input shape in use.

    A new input shape costs a moment at its first frame: buffers, warm-up, capture.
    """

    def __init__(self, device: torch.device, info: EngineInfo) -> None:
        self.info = info
        self._device = device
        self._lanes: OrderedDict[tuple[object, ...], Lane] = OrderedDict()
        self._single: set[tuple[int, ...]] = set()  # sizes of images whose batches have failed

    @abstractmethod
    def make_lane(self, part: GraphPart, shapes: Shapes) -> "Lane":
        """Prepare ``frame``, ``prompt_decoder`` or ``tube_decoder`` for inputs of these shapes.

        Raises:
            EngineError: the engine does not allow these shapes.
        """

    def prepare(
        self, image: NDArray[np.uint8], limits: tuple[int, int], channel_order: ChannelOrder
    ) -> tuple[torch.Tensor, Geometry]:
        return preprocess_on_device(image, limits, channel_order, self._device)

    def run(self, image: Image, boxes: NDArray[np.float32] | None = None) -> FrameOutput:
        return self.run_group([image], [boxes])[0]

    def largest_group(self, image: Image) -> int:
        return 1 if tuple(image.shape) in self._single else BATCH_SLOTS[-1]

    def run_group(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput]:
        all_boxes = [np.zeros((0, 4), np.float32) if own is None else own for own in boxes]
        for own in all_boxes:
            check_boxes(own)
        first = [own[: PROMPT_SLOTS[-1]] for own in all_boxes]
        batch = self._batch(images)
        try:
            outputs = self._execute("frame", image=batch, boxes=_slots(first))
        except EngineError:
            if len(images) > 1:  # not enough memory, most likely: not to be tried every time
                self._single.add(tuple(images[0].shape))
            raise
        frames = []
        for index, own in enumerate(all_boxes):
            features = outputs["features"][index : index + 1].clone()
            objects = DeviceObjects(
                outputs["class_logits"][index].clone(),
                outputs["mask_logits"][index].clone(),
                _to_numpy(outputs["queries"][index]),
            )
            check_finite(objects.class_logits)
            parts = []
            if len(own):
                parts.append(_prompt_output(outputs, len(first[index]), index))
            frames.append((features, objects, parts))
        # Only now: this may overwrite the outputs.
        return [
            FrameOutput(
                features,
                objects,
                _joined(parts + self._prompt_parts(features, own[PROMPT_SLOTS[-1] :]))
                if len(own)
                else None,
            )
            for (features, objects, parts), own in zip(frames, all_boxes, strict=True)
        ]

    def fuse(
        self,
        objects: ObjectOutput,
        geometry: Geometry,
        label_set: LabelSet,
        config: FusionConfig,
    ) -> PanopticResult:
        if not isinstance(objects, DeviceObjects):
            raise EngineError("these objects are not from this engine")
        return fuse_on_device(objects.classes, objects.masks, geometry, label_set, config)

    def decode_prompts(self, features: torch.Tensor, boxes: NDArray[np.float32]) -> PromptOutput:
        check_boxes(boxes)
        if not len(boxes):
            no_masks = np.zeros((0, *features.shape[2:]), np.float32)
            return PromptOutput(no_masks, np.zeros(0, np.float32))
        return _joined(self._prompt_parts(features, boxes))

    def decode_tube(self, features: Sequence[torch.Tensor]) -> tuple[ObjectOutput, ...]:
        check_tube([tuple(one.shape) for one in features])
        outputs = self._execute("tube_decoder", features=torch.cat(list(features)))
        classes, masks = outputs["class_logits"][0].clone(), outputs["mask_logits"][0].clone()
        queries = _to_numpy(outputs["queries"][0])
        objects = tuple(
            DeviceObjects(classes, masks[:, k], queries) for k in range(masks.shape[1])
        )
        check_finite(objects[0].class_logits)
        return objects

    def close(self) -> None:
        self._lanes.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _batch(self, images: Sequence[Image]) -> torch.Tensor:
        """Join checked images, (B, 3, H, W), filled up to the next size of a batch."""
        tensors = []
        for image in images:
            if isinstance(image, np.ndarray):
                check_image(image)
                image = torch.from_numpy(image)
            tensors.append(image)
        if len(tensors) == 1:
            return tensors[0]
        slots = next(count for count in BATCH_SLOTS if count >= len(tensors))
        tensors += tensors[:1] * (slots - len(tensors))
        return torch.cat([tensor.to(self._device) for tensor in tensors])

    def _prompt_parts(
        self, features: torch.Tensor, boxes: NDArray[np.float32]
    ) -> list[PromptOutput]:
        parts = []
        for start in range(0, len(boxes), PROMPT_SLOTS[-1]):
            part = boxes[start : start + PROMPT_SLOTS[-1]]
            outputs = self._execute("prompt_decoder", features=features, boxes=_slots([part]))
            parts.append(_prompt_output(outputs, len(part), 0))
        return parts

    def _execute(self, part: GraphPart, **inputs: torch.Tensor) -> Tensors:
        """Return the outputs, which the next call with the same shapes overwrites."""
        shapes = {name: tuple(tensor.shape) for name, tensor in inputs.items()}
        key = (part, *sorted(shapes.items()))
        try:
            if key not in self._lanes:
                while len(self._lanes) >= MAX_LANES:
                    self._lanes.popitem(last=False)
                self._lanes[key] = self.make_lane(part, shapes)
            self._lanes.move_to_end(key)
            return self._lanes[key].run(inputs)
        except RuntimeError as error:  # of CUDA; out of memory is one too
            if isinstance(error, EngineError):
                raise
            self._lanes.pop(key, None)
            raise EngineError(f"the GPU failed: {' '.join(str(error).split())}") from error


class Lane(ABC):
    """One input shape: input buffers, a stream, and a CUDA graph over them.

    The graph holds addresses and shapes; nothing of them changes after the capture.
    """

    def __init__(self, device: torch.device, shapes: Shapes) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self.inputs = {
            name: torch.zeros(shape, dtype=torch.float32, device=device)
            for name, shape in shapes.items()
        }
        self._staging = {
            name: torch.empty(shape, dtype=torch.float32, pin_memory=True)
            for name, shape in shapes.items()
        }
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Tensors = {}

    @abstractmethod
    def enqueue(self) -> Tensors:
        """Put the work on the current stream and return its outputs, always the same memory."""

    def capture(self) -> None:
        """Run once, which sets up what is set up lazily, then capture the same work."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self.enqueue()
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._outputs = self.enqueue()
            self._graph = graph

    def run(self, inputs: Tensors) -> Tensors:
        """Execute and return the outputs, ready for the current stream."""
        if self._graph is None:
            self.capture()
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                for name, tensor in inputs.items():
                    if tensor.device.type == "cpu":  # page-locked memory: else the copy blocks
                        tensor = self._staging[name].copy_(tensor)
                    self.inputs[name].copy_(tensor, non_blocking=True)
                assert self._graph is not None
                self._graph.replay()
            current.wait_stream(self._stream)
        return self._outputs


def padded_boxes(boxes: Sequence[NDArray[np.float32]], size: tuple[int, int]) -> torch.Tensor:
    """Fill the boxes (K, 4) of every image up: (images, prompts, 4) with ``size`` of both."""
    filled = torch.tensor(WHOLE_IMAGE).repeat(*size, 1)
    for row, own in zip(filled, boxes, strict=False):
        row[: len(own)] = torch.from_numpy(own)
    return filled


def _slots(boxes: Sequence[NDArray[np.float32]]) -> torch.Tensor:
    """Fill boxes up to the next sizes: (batch slots, prompt slots, 4)."""
    batch = next(count for count in BATCH_SLOTS if count >= len(boxes))
    slots = next(count for count in PROMPT_SLOTS if count >= max(map(len, boxes)))
    return padded_boxes(boxes, (batch, slots))


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.to("cpu", copy=True).numpy())


def _prompt_output(outputs: Tensors, count: int, index: int) -> PromptOutput:
    """Return the first ``count`` prompts of image ``index`` of a batch."""
    iou = _to_numpy(outputs["prompt_iou"][index, :count])
    check_finite(iou)
    return PromptOutput(_to_numpy(outputs["prompt_mask_logits"][index, :count]), iou)


def _joined(parts: list[PromptOutput]) -> PromptOutput:
    if len(parts) == 1:
        return parts[0]
    masks = np.concatenate([part.mask_logits for part in parts])
    return PromptOutput(masks, np.concatenate([part.iou for part in parts]))
