"""Interactive segmentation: where click and box go, and how their masks are judged.

Source: docs/reference/rmpsam.md, section 13.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

_SMOOTHNESS = 0.35
NOC_THRESHOLDS = (0.5, 0.8, 0.85, 0.9)
NOC_FAILURE = 20


def click_position(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return (x, y) of the deepest pixel inside a mask [H, W], the first in row-major order.

    Depth is the reference's approximate distance transform, not the exact Euclidean one
    (docs/reference/rmpsam.md, section 13).

    Raises:
        ValueError: an empty mask.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        raise ValueError("an empty mask has no place to click")
    # Beyond the tight box and one pixel of background nothing influences the depth.
    top, left = int(rows.min()), int(columns.min())
    part = mask[top : rows.max() + 1, left : columns.max() + 1]
    depth = _depth(np.pad(part, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return left + int(x), top + int(y)


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the approximate distance of every pixel to the background, in pixels.

    The background grows by one ring per round; within a round the distance is a soft minimum over
    the 3 x 3 neighbourhood.
    """
    steps = torch.arange(-1.0, 2.0)
    distance = torch.hypot(steps[:, None], steps[None])
    kernel = torch.exp(-distance / _SMOOTHNESS)[None, None]
    reached = torch.from_numpy(~mask)[None, None].float()
    depth = torch.zeros_like(reached)
    for round_number in range(max(mask.shape)):
        near = F.conv2d(F.pad(reached, (1, 1, 1, 1), mode="replicate"), kernel)
        step = (-_SMOOTHNESS * near.log()).nan_to_num(posinf=0.0)
        ring = step > 0
        if not ring.any():
            break
        depth += (round_number + step) * ring
        reached = torch.where(ring, torch.ones_like(reached), reached)
    return depth[0, 0].numpy()


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return (x1, y1, x2, y2), right and bottom exclusive, of a mask that has pixels."""
    rows, columns = np.nonzero(mask)
    return (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


class InteractiveScore:
    """Mean IoU and "number of clicks" over all segments of all images."""

    def __init__(self) -> None:
        self._ious: list[float] = []

    def add(self, iou: float) -> None:
        """Count one segment."""
        self._ious.append(iou)

    def mean_iou(self) -> float:
        """Return the mean IoU over segments, 0 to 1."""
        return float(np.mean(self._ious)) if self._ious else math.nan

    def clicks(self, threshold: float) -> float:
        """Return the mean of 1 where the IoU reaches the threshold and 20 elsewhere."""
        if not self._ious:
            return math.nan
        return float(np.mean([1 if iou >= threshold else NOC_FAILURE for iou in self._ious]))

    def __len__(self) -> int:
        return len(self._ious)
