"""Samples of a data set: an image, its masks, and what is known about their classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNNAMED = -1
"""Class of an object whose mask is known and whose name is not."""


class DataError(ValueError):
    """A data set on disk is not what its description says; the message names the file."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One annotated image.

    image: uint8 [H, W, 3], RGB.
    masks: bool [G, H, W]; masks of instance data sets may overlap.
    classes: int64 [G], index into the label set, or ``UNNAMED``.
    ignore: bool [H, W], pixels about which nothing is known (void, crowds).
    annotated: bool [C], classes of which the image shows no unmarked object; only these may
        be denied to a query that matches nothing.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    classes: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    annotated: NDArray[np.bool_]

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise DataError(
                f"image has shape {self.image.shape} and type {self.image.dtype}; "
                "expected (height, width, 3) and uint8"
            )
        if self.masks.ndim != 3 or self.masks.shape[1:] != size:
            raise DataError(
                f"masks have shape {self.masks.shape}; expected (objects, {size[0]}, {size[1]})"
            )
        if self.classes.shape != self.masks.shape[:1]:
            raise DataError(f"{len(self.masks)} masks but classes of shape {self.classes.shape}")
        if self.ignore.shape != size:
            raise DataError(f"ignore mask has shape {self.ignore.shape}; expected {size}")


def stack_masks(masks: list[NDArray[np.bool_]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Stack masks [H, W] to [G, H, W], also when there are none."""
    return np.stack(masks) if masks else np.zeros((0, *size), bool)
