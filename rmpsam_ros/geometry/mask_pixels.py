"""A bounded number of pixels from a mask, without decoding it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.run_length import RunLengthMask


def mask_pixels(mask: RunLengthMask, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all pixels of a mask, or, if there are more than `most`, that many of them.

    One is drawn from each of `most` stretches of equal length of the mask in row-major order, by
    numbers that are the same every time: even over the mask, and in step with no row length.

    Returns:
        Rows and columns (N,) in the image.
    """
    area = mask.area
    if area <= most:
        picks = np.arange(area)
    else:
        picks = ((np.arange(most) + _offsets(most)) * (area / most)).astype(np.int64)
    counts = mask.counts.astype(np.int64)
    lengths = counts[1::2]
    begins = np.cumsum(counts)[0::2][: len(lengths)]
    ends = np.cumsum(lengths)
    run = np.searchsorted(ends, picks, side="right")
    places = begins[run] + picks - (ends[run] - lengths[run])
    x_min, y_min, x_max, _ = mask.box
    rows, columns = np.divmod(places, max(x_max - x_min, 1))
    return rows + y_min, columns + x_min


@lru_cache(maxsize=4)
def _offsets(count: int) -> NDArray[np.float64]:
    """Numbers from 0 to 1 (exclusive), always the same."""
    return np.random.default_rng(0).random(count)
