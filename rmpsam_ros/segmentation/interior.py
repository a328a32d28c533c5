"""Place and appearance of an object, which following it needs besides its mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_MAX_PIXELS = 256 * 256  # larger masks are looked at on a coarser grid
_BINS = 6  # per colour axis


def deepest_point(mask: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Pixel (x, y) of a mask (H, W) that is farthest from everything outside the mask.

    The border of the array counts as outside. Found on a coarser grid in masks of more than 256 x
    256 pixels; None for a mask without pixels.
    """
    stride = _stride(mask.shape)
    inside = np.pad(mask[::stride, ::stride].astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    if depth[y, x] > 0.0:
        return (int(x) - 1) * stride, (int(y) - 1) * stride
    ys, xs = np.nonzero(mask)  # so thin that the coarse grid misses it
    middle = len(xs) // 2
    return (int(xs[middle]), int(ys[middle])) if len(xs) else None


def color_histogram(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What the pixels of a mask (H, W) of an image (H, W, 3) look like, whatever their number.

    Square roots of a smoothed histogram over lightness and the two colour axes of CIE L*a*b*,
    (216,) float32 of unit length, so that the product of two of them is their Bhattacharyya
    coefficient: 1 the same colours, 0 none in common. Zeros for a mask without pixels.
    """
    stride = _stride(mask.shape)
    rgb, mask = rgb[::stride, ::stride], mask[::stride, ::stride]
    lab = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB)
    # Images rarely reach the ends of the two colour axes.
    ranges = [0, 256, 64, 192, 64, 192]
    lab = np.clip(lab, (0, 64, 64), (255, 191, 191)).astype(np.uint8)
    histogram = cv2.calcHist([lab], [0, 1, 2], mask.astype(np.uint8), [_BINS] * 3, ranges)
    histogram = np.asarray(histogram, np.float32)
    before, after = [0, *range(_BINS - 1)], [*range(1, _BINS), _BINS - 1]
    for axis in range(3):  # a colour between two bins must not jump from one to the other
        neighbours = histogram.take(before, axis) + histogram.take(after, axis)
        histogram = 0.5 * histogram + 0.25 * neighbours
    total = histogram.sum()
    return np.sqrt(histogram.ravel() / total if total else histogram.ravel()).astype(np.float32)


def _stride(shape: tuple[int, ...]) -> int:
    return max(1, int(np.ceil(np.sqrt(shape[0] * shape[1] / _MAX_PIXELS))))
