"""The product as what is evaluated: the pipeline that the node runs, with all its rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.pipeline import FrameResult, Pipeline, PromptedMask
from rmpsam_ros.segmentation.prompt_types import FOREGROUND, ObjectPrompt
from rmpsam_ros.segmentation.results import PanopticResult
from rmpsam_ros.segmentation.run_length import decode_mask

DAVIS_RATE = 24.0  # frames per second of the videos that DAVIS was cut from


class ProductPredictor:
    """A pipeline; implements ``Segmenter``.

    Everything comes from `Pipeline`: engine, thresholds, class map and masks of a result, the
    answers of its prompt engine, `Prompter.segment_everything` for masks without a class, and its
    following, which may lose an object and find it again.
    """

    def __init__(self, pipeline: Pipeline, rate: float = DAVIS_RATE) -> None:
        """rate: frames per second of videos; the pipeline counts in seconds.

        For figures of every frame, a prompt engine with an image encoder of its own is to be asked
        in every frame: ``PromptingConfig.prompt_rate`` 0.
        """
        self.label_set = pipeline.label_set
        self._pipeline = pipeline
        self._rate = rate
        self._result: FrameResult | None = None

    def show(self, image: NDArray[np.uint8]) -> None:
        """Process an image, RGB (H, W, 3), as the first frame of a camera."""
        self._pipeline.reset()
        self._result = self._pipeline.process(image, 0.0)

    def panoptic(self) -> PanopticResult:
        """Return the panoptic segmentation of the image."""
        return self._shown().panoptic

    def semantic(self, annotated: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the class map that the node publishes, (H, W), whatever the data set knows."""
        return self._pipeline.semantic_map(self._shown()).astype(np.int64)

    def object_masks(self) -> NDArray[np.bool_]:
        """Return the masks, (N, H, W), of everything in the image."""
        result = self._shown()
        masks = [decode_mask(found.mask) for found in self._pipeline.prompts.segment_everything()]
        return np.stack(masks) if masks else np.zeros((0, result.height, result.width), np.bool_)

    def click(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask, (K, H, W), for each of K points x, y."""
        return self._answers([_click(point) for point in np.asarray(points)])

    def box(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask, (K, H, W), for each of K boxes x1, y1, x2, y2, end exclusive."""
        none = np.zeros((0, 2), np.float32), np.zeros(0, np.uint8)
        return self._answers([ObjectPrompt(*none, np.float32(box)[None]) for box in boxes])

    def follow(
        self, frames: Iterable[NDArray[np.uint8]], point: tuple[int, int]
    ) -> Iterator[NDArray[np.bool_]]:
        """Yield the mask, (H, W), of an object in every frame; it is clicked in the first."""
        self._pipeline.reset()
        object_id = ""
        for index, image in enumerate(frames):
            result = self._pipeline.process(image, index / self._rate)
            if index == 0:
                found = self._pipeline.prompts.prompt(_click(np.array(point)), track=True)
                object_id = found.object_id
            else:
                found = _of(object_id, self._pipeline.prompts.follow() or result.prompted)
            yield decode_mask(found.mask)

    def _shown(self) -> FrameResult:
        assert self._result is not None, "show() comes first"
        return self._result

    def _answers(self, prompts: Iterable[ObjectPrompt]) -> NDArray[np.bool_]:
        answers = [self._pipeline.prompts.prompt(prompt) for prompt in prompts]
        return np.stack([decode_mask(answer.mask) for answer in answers])


def _click(point: NDArray[np.generic]) -> ObjectPrompt:
    labels = np.full(1, FOREGROUND, np.uint8)
    return ObjectPrompt(np.float32(point)[None], labels, np.zeros((0, 4), np.float32))


def _of(object_id: str, masks: Iterable[PromptedMask]) -> PromptedMask:
    return next(mask for mask in masks if mask.object_id == object_id)
