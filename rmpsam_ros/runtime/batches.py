"""Images of several cameras in one call, in groups that run together."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.runtime.engine import EngineError, FrameOutput


class Batches(ABC):
    """`Engine.run_batch` by groups of images of one size, which an engine may run together."""

    @abstractmethod
    def run(self, image: Any, boxes: NDArray[np.float32] | None = None) -> FrameOutput: ...

    def run_batch(
        self, images: Sequence[Any], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput | EngineError]:
        if len(images) != len(boxes):
            raise ValueError(f"{len(images)} images came with {len(boxes)} items of boxes")
        results: dict[int, FrameOutput | EngineError] = {}
        for group in self._groups(images):
            outputs = self._group_results(
                [images[index] for index in group], [boxes[index] for index in group]
            )
            results.update(zip(group, outputs, strict=True))
        return [results[index] for index in range(len(images))]

    def largest_group(self, image: Any) -> int:
        return 1

    def run_group(
        self, images: Sequence[Any], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput]:
        """Run two images or more of one size, (1, 3, H, W) each, together.

        Args:
            images: of one size, as `Engine.run` takes them.
            boxes: (K, 4) float32 for each image, or None.

        Raises:
            EngineError: any of them fails.
        """
        raise NotImplementedError

    def _groups(self, images: Sequence[Any]) -> Iterator[list[int]]:
        """Cut the places of the images into groups of one size, none too large."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            by_shape.setdefault(tuple(image.shape), []).append(index)
        for places in by_shape.values():
            step = self.largest_group(images[places[0]])
            for start in range(0, len(places), step):
                yield places[start : start + step]

    def _group_results(
        self, images: Sequence[Any], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput | EngineError]:
        if len(images) > 1:
            try:
                return [*self.run_group(images, boxes)]
            except EngineError:
                pass  # one by one it turns out whose fault it was
        results: list[FrameOutput | EngineError] = []
        for image, own_boxes in zip(images, boxes, strict=True):
            try:
                results.append(self.run(image, own_boxes))
            except EngineError as error:
                results.append(error)
        return results
