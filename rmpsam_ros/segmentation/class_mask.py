"""One mask of everything that belongs to some classes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.results import PanopticResult


def class_mask(
    result: PanopticResult, class_ids: Collection[int], out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return (H, W) uint8: 255 where a segment of one of the classes is, 0 elsewhere.

    Args:
        out: as in `PanopticResult.painted`.
    """
    table = np.zeros(len(result.segments) + 1, np.uint8)
    for segment in result.segments:
        if segment.class_id in class_ids:
            table[segment.id] = 255
    return result.painted(table, out)
