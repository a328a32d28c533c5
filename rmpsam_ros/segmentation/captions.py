"""Captions on images for people: one line of text on a dark plate."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_COLOR, _PLATE_COLOR = (255, 255, 255), (24, 24, 24)
_MARGIN_X, _MARGIN_Y = 3, 2  # pixels of plate around the text


@dataclass(frozen=True, slots=True)
class Caption:
    """A line of text that fits an image, made by `make_caption`.

    Attributes:
        text: what is written.
        scale: of the font.
        baseline: pixels of the text below its line.
        size: (width, height) of the plate, pixels.
    """

    text: str
    scale: float
    baseline: int
    size: tuple[int, int]

    def draw(self, canvas: NDArray[np.uint8], left: int, top: int) -> None:
        """Draw the plate with its top left corner at a pixel of an RGB image (H, W, 3)."""
        right, bottom = left + self.size[0] - 1, top + self.size[1] - 1
        cv2.rectangle(canvas, (left, top), (right, bottom), _PLATE_COLOR, cv2.FILLED)
        origin = (left + _MARGIN_X, bottom + 1 - self.baseline - _MARGIN_Y)
        cv2.putText(canvas, self.text, origin, _FONT, self.scale, _TEXT_COLOR, 1, cv2.LINE_AA)


def make_caption(text: str, image_height: int) -> Caption:
    """Return a caption in letters that fit the height of an image, pixels."""
    scale = min(1.0, max(0.35, image_height / 1600))
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    size = (width + 2 * _MARGIN_X, height + baseline + 2 * _MARGIN_Y)
    return Caption(text, scale, baseline, size)
