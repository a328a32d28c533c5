"""Predictors: the interfaces of everything that can be evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.results import PanopticResult


class Promptable(Protocol):
    """Answers clicks and boxes on one image, and follows an object through a video."""

    def show(self, image: NDArray[np.uint8]) -> None:
        """Look at an image, RGB (H, W, 3); the questions that follow are about it."""
        ...

    def click(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask, (K, H, W), for each of K points x, y: the pixel with that index."""
        ...

    def box(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask, (K, H, W), for each of K boxes x1, y1, x2, y2, end exclusive."""
        ...

    def follow(
        self, frames: Iterable[NDArray[np.uint8]], point: tuple[int, int]
    ) -> Iterator[NDArray[np.bool_]]:
        """Yield the mask, (H, W), of an object in every frame; it is clicked in the first."""
        ...


class Segmenter(Promptable, Protocol):
    """Segments images, too."""

    label_set: LabelSet

    def panoptic(self) -> PanopticResult:
        """Return the panoptic segmentation of the image."""
        ...

    def semantic(self, annotated: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the class of every pixel, (H, W); what is no class index is unlabelled.

        Args:
            annotated: (C,) the classes that the data set knows.
        """
        ...

    def object_masks(self) -> NDArray[np.bool_]:
        """Return masks, (N, H, W), of all objects, whatever their class."""
        ...
