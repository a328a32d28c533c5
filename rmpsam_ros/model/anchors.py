"""Boxes as the masks that an anchored network pools over first (see ``RmpSam``)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def grid_cells(count: int) -> Tensor:
    """Return the cells of a square grid over the image as boxes x1, y1, x2, y2 in 0..1.

    Args:
        count: a square number.

    Returns:
        [count, 4], row by row.

    Raises:
        ValueError: another count.
    """
    side = math.isqrt(count)
    if side * side != count:
        raise ValueError(f"{count} object queries do not make a square grid")
    start = torch.arange(side) / side
    y, x = torch.meshgrid(start, start, indexing="ij")
    return torch.stack((x, y, x + 1 / side, y + 1 / side), dim=-1).flatten(0, 1)


def box_masks(boxes: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Return how far inside its box every pixel is, in pixels, not positive outside: [B, Q, L].

    Args:
        boxes: [B, Q, 4], x1, y1, x2, y2 in 0..1 of the padded image; one that is narrower than a
            pixel holds the pixel next to it, and one whose centre is outside is moved in.
        grid: (h, w) of the mask, or (T, h, w) with the same box in all T frames.
    """
    *frames, height, width = grid
    inside_x = _inside(boxes[..., 0], boxes[..., 2], width)
    inside_y = _inside(boxes[..., 1], boxes[..., 3], height)
    masks = torch.minimum(inside_y[..., :, None], inside_x[..., None, :]).flatten(2)
    return masks.repeat(1, 1, frames[0]) if frames else masks


MARGIN = 1e-3
"""Pixels by which a box is wider than it is, so that rounding cannot empty it."""


def _inside(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Return how far inside two borders [B, Q] the centres of ``size`` pixels are."""
    center = ((low + high) * (size / 2)).clamp(0.5, size - 0.5)
    half = ((high - low) * (size / 2)).clamp(min=0.5) + MARGIN
    pixel = torch.arange(size, dtype=low.dtype, device=low.device) + 0.5
    return half[..., None] - (pixel - center[..., None]).abs()
