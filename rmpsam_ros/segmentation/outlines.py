"""Outlines of masks, as viewers that draw lines want them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_mask

MIN_AREA = 0.02  # of the largest part: smaller parts are left out


def mask_outlines(mask: RunLengthMask, tolerance: float = 1.0) -> list[NDArray[np.float32]]:
    """Return the outer outlines of a mask's parts, largest first.

    Args:
        mask: of an image of any size.
        tolerance: how far an outline may be from the pixels' centres, pixels.

    Returns:
        Closed polygons (N, 2) float32 of x and y, N >= 3; (0, 0) is the centre of the top left
        pixel. Parts of one or two pixels, and those below `MIN_AREA` of the largest, are left out.
    """
    x_min, y_min, x_max, y_max = mask.box
    if not mask.area:
        return []
    inside = decode_mask(mask)[y_min:y_max, x_min:x_max].astype(np.uint8)
    found, _ = cv2.findContours(
        inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x_min, y_min)
    )
    parts = sorted(found, key=cv2.contourArea, reverse=True)
    least = MIN_AREA * cv2.contourArea(parts[0])
    outlines = [
        cv2.approxPolyDP(part, tolerance, True).reshape(-1, 2).astype(np.float32)
        for part in parts
        if cv2.contourArea(part) >= least
    ]
    return [outline for outline in outlines if len(outline) >= 3]
