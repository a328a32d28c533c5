"""Semantic segmentation: mean IoU over classes, from a confusion matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class MeanIou:
    """Counts pixels of every pair (annotated class, predicted class)."""

    def __init__(self, num_classes: int) -> None:
        self._counts = np.zeros((num_classes, num_classes + 1), np.int64)

    def add(self, predicted: NDArray[np.integer], truth: NDArray[np.integer], ignore: int) -> None:
        """Count one image: class maps [H, W].

        Pixels whose annotation is ``ignore`` are left out. A prediction that is no class index
        (unlabelled) is wrong wherever something is annotated.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"prediction is {predicted.shape}, annotation is {truth.shape}")
        known = truth != ignore
        rows = truth[known].astype(np.int64)
        columns = predicted[known].astype(np.int64)
        count = len(self._counts)
        columns = np.where((columns < 0) | (columns > count), count, columns)
        pairs = np.bincount(rows * (count + 1) + columns, minlength=self._counts.size)
        self._counts += pairs.reshape(self._counts.shape)

    def per_class(self) -> dict[int, float]:
        """Return the IoU (0 to 1) of every class that is annotated somewhere."""
        right = np.diag(self._counts)
        union = self._counts.sum(axis=1) + self._counts[:, :-1].sum(axis=0) - right
        annotated = np.flatnonzero(self._counts.sum(axis=1))
        return {int(index): float(right[index] / union[index]) for index in annotated}

    def mean(self) -> float:
        """Return the mean IoU (0 to 1) over the classes that are annotated somewhere."""
        values = list(self.per_class().values())
        return float(np.mean(values)) if values else float("nan")
