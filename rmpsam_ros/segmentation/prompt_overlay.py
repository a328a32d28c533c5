"""Prompted masks drawn over an image."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.captions import make_caption
from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_mask

_OPACITY = 0.5


def object_color(object_id: str) -> tuple[int, int, int]:
    """Colour (red, green, blue) of a prompted object: bright, the same for the same id."""
    hue = zlib.crc32(object_id.encode()) * 0.61803398875 % 1.0
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.9, 1.0))
    return red, green, blue


def draw_prompted(
    canvas: NDArray[np.uint8],
    objects: Sequence[tuple[str, RunLengthMask, bool]],
    captions: bool = True,
) -> None:
    """Draw prompted objects onto an RGB image (H, W, 3) uint8, in place.

    Args:
        objects: id, mask of the image's size, and whether the mask belongs to this image: then
            it is tinted, else it has a contour only. Empty masks are left out.
        captions: write the ids, too; colours tell them apart in any case.

    Raises:
        ValueError: a mask of another size.
    """
    height, width = canvas.shape[:2]
    thickness = max(1, round(height / 270))
    for object_id, mask, is_current in objects:
        if (mask.height, mask.width) != (height, width):
            raise ValueError(
                f"mask of {object_id} is {mask.width} x {mask.height}, the image "
                f"{width} x {height}"
            )
        if not mask.area:
            continue
        color = object_color(object_id)
        x_min, y_min, x_max, y_max = mask.box
        inside = decode_mask(mask)[y_min:y_max, x_min:x_max]
        part = canvas[y_min:y_max, x_min:x_max]
        if is_current:
            part[inside] = (_OPACITY * part[inside] + (1 - _OPACITY) * np.array(color)).astype(
                np.uint8
            )
        contours, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(canvas, contours, -1, color, thickness, offset=(x_min, y_min))
        if captions:
            _write(canvas, object_id, (x_min, y_min))


def _write(canvas: NDArray[np.uint8], text: str, corner: tuple[int, int]) -> None:
    """Write a caption above the top left corner of an object, inside the image."""
    height, width = canvas.shape[:2]
    text = "".join(sign if " " <= sign <= "~" else "?" for sign in text[:32])
    caption = make_caption(text, height)
    left = max(0, min(corner[0], width - caption.size[0]))
    caption.draw(canvas, left, max(0, corner[1] - caption.size[1]))
