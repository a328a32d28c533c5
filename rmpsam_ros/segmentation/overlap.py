"""Overlap of masks and boxes: intersection over union, and suppression of duplicates.

One rule holds everywhere: what is empty overlaps nothing, something else that is empty included
(IoU 0, as in pycocotools). That two masks are empty does not make one object of two. Where a
benchmark rules otherwise (DAVIS: 1), that stands beside its metric.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def iou(shared: ArrayLike, first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Return intersection over union from areas, any shapes that broadcast; 0 for no area at all.

    Args:
        shared: area that both have.
        first, second: area of each.
    """
    shared = np.asarray(shared, np.float64)
    union = np.asarray(first, np.float64) + np.asarray(second, np.float64) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0.0)


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the IoU of two masks (H, W), or of any other common shape.

    Raises:
        ValueError: their shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"masks have shapes {first.shape} and {second.shape}; expected one shape")
    counts = (np.count_nonzero(mask) for mask in (first & second, first, second))
    return float(iou(*counts))


def mask_ious(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the IoU of every pair of masks, (N, ...) and (M, ...) of one shape: (N, M)."""
    left = first.reshape(len(first), int(np.prod(first.shape[1:]))).astype(np.float32)
    right = second.reshape(len(second), int(np.prod(second.shape[1:]))).astype(np.float32)
    areas = (flat.sum(axis=1, dtype=np.float64) for flat in (left, right))
    left_areas, right_areas = areas
    return iou(left @ right.T, left_areas[:, None], right_areas)


def box_ious(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of every pair of boxes, (N, 4) and (M, 4) edges: (N, M).

    A box is x_min, y_min, x_max, y_max; one that is inverted is empty.
    """
    a, b = (np.asarray(boxes, np.float64).reshape(-1, 4).T for boxes in (first, second))
    widths = np.minimum(a[2][:, None], b[2]) - np.maximum(a[0][:, None], b[0])
    heights = np.minimum(a[3][:, None], b[3]) - np.maximum(a[1][:, None], b[1])
    shared = np.maximum(widths, 0.0) * np.maximum(heights, 0.0)
    areas = [np.maximum(x[2] - x[0], 0.0) * np.maximum(x[3] - x[1], 0.0) for x in (a, b)]
    return iou(shared, areas[0][:, None], areas[1])


def distinct(
    count: int, overlaps: Callable[[int, NDArray[np.intp]], NDArray[np.floating]], max_iou: float
) -> list[int]:
    """Return which of ``count`` things stay when each drops those behind it that are the same.

    (Greedy non-maximum suppression of things in the order of their worth.)

    Args:
        overlaps: of one thing (its place) with others (their places), as (others,) IoU.
        max_iou: two that overlap by more are the same.
    """
    kept: list[int] = []
    left = np.arange(count)
    while left.size:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[overlaps(best, left) <= max_iou]
    return kept


def distinct_boxes(boxes: NDArray[np.generic], max_iou: float) -> list[int]:
    """Return which of the boxes, (N, 4) edges, best first, `distinct` keeps."""
    return distinct(
        len(boxes), lambda k, others: box_ious(boxes[k : k + 1], boxes[others])[0], max_iou
    )
