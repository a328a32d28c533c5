"""The panoptic network on any executor: its inputs, its outputs, prompts, tubes and batches."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.checks import (
    check_boxes,
    check_finite,
    check_image,
    check_tube,
    no_tubes,
)
from rmpsam_ros.runtime.engine import (
    ChannelOrder,
    EngineError,
    EngineInfo,
    FrameOutput,
    ObjectOutput,
    PromptOutput,
)
from rmpsam_ros.runtime.executor import Executor
from rmpsam_ros.runtime.slots import BATCH_SLOTS, PROMPT_SLOTS, slot
from rmpsam_ros.runtime.steps import DeviceSteps, HostSteps, Steps
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.results import PanopticResult

Image = NDArray[np.float32] | Tensor
Boxes = NDArray[np.float32]

WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)  # fills unused prompt slots
_NO_BOXES = np.zeros((0, 4), np.float32)


class PanopticEngine(Batches):
    """An `Engine`: the parts ``frame``, ``prompt_decoder`` and, for tubes, ``tube_decoder``."""

    def __init__(self, executor: Executor, info: EngineInfo, steps: Steps | None = None) -> None:
        """Take over an executor; ``steps``: by default those of its device."""
        self.info = info
        self._executor = executor
        on_host = executor.device.type == "cpu"
        self._steps = steps or (HostSteps() if on_host else DeviceSteps(executor.device))
        self._downloads = isinstance(self._steps, HostSteps)
        self._single: set[tuple[int, ...]] = set()  # sizes of images whose batches have failed

    def prepare(
        self, image: NDArray[np.uint8], limits: tuple[int, int], channel_order: ChannelOrder
    ) -> tuple[Image, Letterbox]:
        return self._steps.prepare(image, limits, channel_order)

    def fuse(
        self,
        objects: ObjectOutput,
        geometry: Letterbox,
        label_set: LabelSet,
        config: FusionConfig,
    ) -> PanopticResult:
        return self._steps.fuse(objects, geometry, label_set, config)

    def run(self, image: Image, boxes: Boxes | None = None) -> FrameOutput:
        return self.run_group([image], [boxes])[0]

    def largest_group(self, image: Image) -> int:
        if tuple(image.shape) in self._single:
            return 1
        return self._executor.largest_batch("frame", {"image": _tensor(image)})

    def run_group(
        self, images: Sequence[Image], boxes: Sequence[Boxes | None]
    ) -> list[FrameOutput]:
        all_boxes = [_NO_BOXES if own is None else own for own in boxes]
        for own in all_boxes:
            check_boxes(own)
        first = [own[: self._prompts_at_once] for own in all_boxes]
        inputs = {"image": self._batch(images), "boxes": self._filled_up(first)}
        try:
            outputs = self._executor.run("frame", inputs)
        except EngineError:
            if len(images) > 1:  # not enough memory, most likely: not to be tried every time
                self._single.add(tuple(images[0].shape))
            raise
        return [
            self._frame_output(
                {name: _of_image(tensor, index, len(images)) for name, tensor in outputs.items()},
                own,
                len(first[index]),
            )
            for index, own in enumerate(all_boxes)
        ]

    def decode_prompts(self, features: Tensor, boxes: Boxes) -> PromptOutput:
        check_boxes(boxes)
        if not len(boxes):
            no_masks = np.zeros((0, *features.shape[2:]), np.float32)
            return PromptOutput(no_masks, np.zeros(0, np.float32))
        return _joined(self._prompt_parts(features, boxes))

    def decode_tube(self, features: Sequence[Tensor]) -> tuple[ObjectOutput, ...]:
        if "tube_decoder" not in self._executor.parts:
            raise no_tubes()
        check_tube([tuple(own.shape) for own in features])
        outputs = self._executor.run("tube_decoder", {"features": torch.cat(list(features))})
        masks = outputs["mask_logits"][0]
        classes, queries = (_to_numpy(outputs[name][0]) for name in ("class_logits", "queries"))
        check_finite(classes)
        return tuple(
            ObjectOutput(classes, self._masks(masks[:, k]), queries) for k in range(masks.shape[1])
        )

    def close(self) -> None:
        self._executor.close()

    @property
    def _prompts_at_once(self) -> int | None:
        return PROMPT_SLOTS[-1] if self._executor.fixed_shapes else None

    def _batch(self, images: Sequence[Image]) -> Tensor:
        """Join checked images, (B, 3, H, W), filled up to the next size of a batch."""
        for image in images:
            if isinstance(image, np.ndarray):
                check_image(image)
        tensors = [_tensor(image) for image in images]
        if len(tensors) == 1:
            return tensors[0]
        if self._executor.fixed_shapes:
            tensors += tensors[:1] * (slot(len(tensors), BATCH_SLOTS) - len(tensors))
        return torch.cat([tensor.to(self._executor.device) for tensor in tensors])

    def _filled_up(self, boxes: Sequence[Boxes]) -> Tensor:
        """Return boxes (K, 4) of every image as (images, prompts, 4), filled up to one size."""
        images, prompts = len(boxes), max(map(len, boxes))
        if self._executor.fixed_shapes:
            images, prompts = slot(images, BATCH_SLOTS), slot(prompts, PROMPT_SLOTS)
        filled = torch.tensor(WHOLE_IMAGE).repeat(images, prompts, 1)
        for row, own in zip(filled, boxes, strict=False):
            row[: len(own)] = torch.from_numpy(own)
        return filled

    def _frame_output(self, outputs: dict[str, Tensor], boxes: Boxes, decoded: int) -> FrameOutput:
        """Return the results of one image, of whose boxes the first have been decoded."""
        classes, features = _to_numpy(outputs["class_logits"][0]), outputs["features"]
        check_finite(classes)
        masks, queries = outputs["mask_logits"][0], _to_numpy(outputs["queries"][0])
        objects = ObjectOutput(classes, self._masks(masks), queries)
        if not len(boxes):
            return FrameOutput(features, objects, None)
        parts = [_prompt_output(outputs, decoded)]
        parts += self._prompt_parts(features, boxes[decoded:])
        return FrameOutput(features, objects, _joined(parts))

    def _prompt_parts(self, features: Tensor, boxes: Boxes) -> list[PromptOutput]:
        parts = []
        step = self._prompts_at_once or max(1, len(boxes))
        for start in range(0, len(boxes), step):
            own = boxes[start : start + step]
            inputs = {"features": features, "boxes": self._filled_up([own])}
            parts.append(_prompt_output(self._executor.run("prompt_decoder", inputs), len(own)))
        return parts

    def _masks(self, masks: Tensor) -> NDArray[np.float32] | Tensor:
        """Leave masks where the post-processing takes them."""
        return _to_numpy(masks) if self._downloads else masks


def _of_image(tensor: Tensor, index: int, images: int) -> Tensor:
    """Return the part of an image, (1, ...), which does not keep that of others in memory."""
    part = tensor[index : index + 1]
    return part.clone() if images > 1 else part


def _tensor(image: Image) -> Tensor:
    return torch.from_numpy(image) if isinstance(image, np.ndarray) else image


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.cpu().numpy())


def _prompt_output(outputs: dict[str, Tensor], count: int) -> PromptOutput:
    """Return the first ``count`` prompts of the first image."""
    iou = _to_numpy(outputs["prompt_iou"][0, :count])
    check_finite(iou)
    return PromptOutput(_to_numpy(outputs["prompt_mask_logits"][0, :count]), iou)


def _joined(parts: list[PromptOutput]) -> PromptOutput:
    if len(parts) == 1:
        return parts[0]
    masks = np.concatenate([part.mask_logits for part in parts])
    return PromptOutput(masks, np.concatenate([part.iou for part in parts]))
