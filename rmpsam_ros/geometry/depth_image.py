"""Depth images in millimetres or metres, aligned to a colour image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.geometry.errors import GeometryError

INVALID_MILLIMETRES = 65535  # what some cameras write for "too far"


@dataclass(frozen=True, slots=True)
class DepthImage:
    """Distances along the optical axis.

    Attributes:
        values: (H, W), uint16 millimetres, where 0 and 65535 mean "unknown", or float32 metres,
            where everything that is not a finite number above 0 does.

    Raises:
        GeometryError: another type or shape.
    """

    values: NDArray[np.uint16] | NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.values.dtype not in (np.uint16, np.float32) or self.values.ndim != 2:
            raise GeometryError(
                f"depth is {self.values.dtype} {self.values.shape}; expected (height, width) of "
                "uint16 (millimetres) or float32 (metres)"
            )

    def check_fits(self, height: int, width: int) -> None:
        """Raise GeometryError unless depth and colour image have the same aspect ratio."""
        own_height, own_width = self.values.shape
        if own_width * height != own_height * width:
            raise GeometryError(
                f"depth is {own_width} x {own_height} and the image {width} x {height} pixels: "
                "not the same field of view; use the depth that is aligned to this image"
            )

    def at(
        self, rows: NDArray[np.integer], columns: NDArray[np.integer], height: int, width: int
    ) -> NDArray[np.float32]:
        """Return the depth (...) at pixels of the colour image.

        Args:
            rows: (...) integers, pixels of the colour image; broadcast with ``columns``.
            columns: (...) integers.
            height: of the colour image; depth may be smaller or larger (`check_fits`).
            width: of the colour image.

        Returns:
            Metres, float32 of the broadcast shape; NaN where the depth is unknown.
        """
        own_height, own_width = self.values.shape
        if (own_height, own_width) != (height, width):
            rows = (2 * rows + 1) * own_height // (2 * height)
            columns = (2 * columns + 1) * own_width // (2 * width)
        values = self.values[rows, columns]
        if values.dtype == np.uint16:
            unknown = (values == 0) | (values == INVALID_MILLIMETRES)
            metres = values.astype(np.float32) * np.float32(0.001)
        else:
            unknown = ~((values > 0.0) & np.isfinite(values))
            metres = values.astype(np.float32)
        metres[unknown] = np.nan
        return metres


def check_same_camera(image_frame: str, depth_frame: str) -> None:
    """Raise GeometryError for depth of another camera: its pixels do not show what the image's do.

    Args:
        image_frame, depth_frame: frame_id of both; an empty one fits everything.
    """
    if image_frame and depth_frame and image_frame != depth_frame:
        raise GeometryError(
            f"depth has frame_id '{depth_frame}' and the image '{image_frame}': use the "
            "depth that is aligned to the colour image, often called aligned_depth_to_color or "
            "depth_registered"
        )
