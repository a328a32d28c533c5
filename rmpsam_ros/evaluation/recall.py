"""Class-agnostic recall: which objects have a mask, whatever it is called."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.overlap import mask_ious


class MaskRecall:
    """Share of objects, larger than a share of the image, that some mask covers."""

    def __init__(self, iou: float = 0.5, minimum_share: float = 0.01) -> None:
        self._iou, self._share = iou, minimum_share
        self._found = self._total = 0

    def add(self, predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        """Count one image: masks [N, H, W] of any order, and annotated masks [G, H, W]."""
        if not len(truth):
            return
        large = truth[truth.mean(axis=(1, 2)) > self._share]
        self._total += len(large)
        if len(predicted) and len(large):
            best = mask_ious(predicted, large).max(axis=0)
            self._found += int((best >= self._iou).sum())

    @property
    def total(self) -> int:
        """Number of objects counted."""
        return self._total

    def recall(self) -> float:
        """Return found / total, 0 to 1."""
        return self._found / self._total if self._total else math.nan
