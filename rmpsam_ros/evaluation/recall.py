"""Class-agnostic recall: which objects have a mask, whatever it is called."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def iou_matrix(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the IoU of every pair of masks [N, ...] and [M, ...]: [N, M]; empty pairs give 0."""
    pixels = math.prod(first.shape[1:])
    left = first.reshape(len(first), pixels).astype(np.float32)
    right = second.reshape(len(second), pixels).astype(np.float32)
    overlap = (left @ right.T).astype(np.float64)
    union = left.sum(axis=1, dtype=np.float64)[:, None] + right.sum(axis=1, dtype=np.float64)
    union = union - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


class MaskRecall:
    """Share of objects, larger than a share of the picture, that some mask covers."""

    def __init__(self, iou: float = 0.5, minimum_share: float = 0.01) -> None:
        self._iou, self._share = iou, minimum_share
        self._found = self._total = 0

    def add(self, predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        """Count one picture: masks [N, H, W] of any order, and annotated masks [G, H, W]."""
        if not len(truth):
            return
        large = truth[truth.mean(axis=(1, 2)) > self._share]
        self._total += len(large)
        if len(predicted) and len(large):
            best = iou_matrix(predicted, large).max(axis=0)
            self._found += int((best >= self._iou).sum())

    @property
    def total(self) -> int:
        """Number of objects counted."""
        return self._total

    def recall(self) -> float:
        """Return found / total, 0 to 1."""
        return self._found / self._total if self._total else math.nan
