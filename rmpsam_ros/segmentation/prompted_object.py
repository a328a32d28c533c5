"""The mask of one prompted object: what the network answers, as far as the prompt points at it.

The queries of prompts are answered with masks that may go on where the prompt does not point: to
other things of the same kind, far from the click or outside the box. So behind the network

- the mask of a box ends at the box, enlarged a little, for boxes are seldom drawn exactly;
- the mask of a point keeps the connected parts that hold a foreground point, or all if none does;
- the object is the union, less what background points claim (see `prompts`).

What is filled or dropped beyond that (holes, small parts) was measured, and changes nothing.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.prompt_types import (
    FOREGROUND,
    POINT_RADIUS,
    ObjectPrompt,
    combine_prompt_masks,
)

BOX_MARGIN = 0.05  # of the size of the box, on each side of it


def object_mask(
    mask_logits: NDArray[np.float32],
    ious: NDArray[np.float32],
    prompt: ObjectPrompt,
    geometry: Letterbox,
    box_margin: float = BOX_MARGIN,
) -> tuple[NDArray[np.bool_], float]:
    """Return mask and score of one object from the answers to its prompts.

    Args:
        mask_logits, ious: (K, h, w) and (K,) float32 as for `combine_prompt_masks`, one for each
            query of `prompt_boxes`: points first.
        prompt: a valid one.
        box_margin: by what share of its size a box is enlarged on each side.

    Returns:
        (H, W) bool at geometry.image_size, and the mean predicted quality of the foreground
        queries, 0 to 1; 0 for an empty mask.

    Raises:
        ValueError, FloatingPointError: as `combine_prompt_masks`.
    """
    num_points = len(prompt.points)
    is_foreground = np.ones(len(mask_logits), np.bool_)
    is_foreground[:num_points] = np.asarray(prompt.labels) == FOREGROUND
    signs = np.where(is_foreground, 1, -1).astype(np.int8)
    background = np.flatnonzero(~is_foreground)
    points = prompt.points[is_foreground[:num_points]]
    union = np.zeros(geometry.image_size, np.bool_)
    scores = []
    for k in np.flatnonzero(is_foreground).tolist():
        chosen = np.array([k, *background])
        mask, _ = combine_prompt_masks(mask_logits[chosen], signs[chosen], ious[chosen], geometry)
        if k < num_points:
            union |= connected_parts(mask, points)
        else:
            rows, columns = _enlarged(prompt.boxes[k - num_points], mask.shape, box_margin)
            union[rows, columns] |= mask[rows, columns]
        scores.append(min(1.0, max(0.0, float(ious[k]))))
    return union, float(np.mean(scores)) if union.any() else 0.0


def query_mask(
    mask_logits: NDArray[np.float32], query: int, geometry: Letterbox
) -> tuple[NDArray[np.bool_], float]:
    """Return the mask, (H, W) bool, of an object query, and the mean probability inside it.

    Both are empty and 0 for logits, (N, h, w), that are not finite.
    """
    chosen, none = np.array([query], np.int32), np.zeros(0, np.int32)
    sizes = geometry.kernel_sizes(mask_logits.shape[1:])
    try:
        mask, area, total = _native.binary_mask(
            np.ascontiguousarray(mask_logits), chosen, none, sizes
        )
    except FloatingPointError:
        return np.zeros(geometry.image_size, np.bool_), 0.0
    return mask, total / area if area else 0.0


def connected_parts(mask: NDArray[np.bool_], points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the connected parts of a mask, (H, W), that hold a point, (P, 2) x, y.

    A part as near as POINT_RADIUS pixels holds it, too; without any such part it is the mask.
    """
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    held: set[int] = set()
    for x, y in points.tolist():
        rows, columns = (
            slice(max(0, math.floor(center - POINT_RADIUS)), math.ceil(center + POINT_RADIUS) + 1)
            for center in (y, x)
        )
        held |= set(np.unique(parts[rows, columns]).tolist())
    held -= {0}  # the background
    return np.isin(parts, list(held)) if held else mask


def _enlarged(
    box: NDArray[np.float32], size: tuple[int, ...], margin: float
) -> tuple[slice, slice]:
    """Return the rows and columns of an image of this size that an enlarged box touches."""
    x_min, y_min, x_max, y_max = box.tolist()
    x, y = margin * (x_max - x_min), margin * (y_max - y_min)
    height, width = size
    rows = slice(max(0, math.floor(y_min - y)), min(height, math.ceil(y_max + y)))
    columns = slice(max(0, math.floor(x_min - x)), min(width, math.ceil(x_max + x)))
    return rows, columns
