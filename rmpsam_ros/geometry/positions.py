"""Position and size of a thing, from its mask and the depth image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.geometry.camera_model import CameraModel
from rmpsam_ros.geometry.depth_image import DepthImage
from rmpsam_ros.geometry.mask_pixels import mask_pixels

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.run_length import RunLengthMask

MAX_PIXELS = 1024  # of one mask that are looked at: a large mask takes no longer than a small one
FEWEST_POINTS = 8  # with a depth that agrees; with fewer there is no position
# A depth belongs to the thing if its inverse is this many median deviations from the median, or
# this share of it. Inverse depth, because it is linear over a plane, and because the errors of
# stereo and pattern cameras are even in it.
DEVIATIONS = 6.0
MIN_SHARE = 0.02
ROUNDS = 2  # of leaving out what does not belong
OUTERMOST = 0.005  # share of the points that may lie outside the box, on each of its sides


@dataclass(frozen=True, slots=True)
class ObjectPosition:
    """Place and size of what is visible of a thing, metres in the optical frame of the camera.

    Attributes:
        position: (3,) median of the visible points, along each axis.
        covariance: (3, 3) spread of the points around `position`, square metres. The error of
            `position` as the middle of what is visible is far below it.
        box_center, box_size: (3,) middle and edge lengths of the box along the axes of the camera
            that holds 99 % of the points along each axis.
        coverage: share of the mask's pixels whose depth is known and agrees, 0 to 1.
    """

    position: NDArray[np.float64]
    covariance: NDArray[np.float64]
    box_center: NDArray[np.float64]
    box_size: NDArray[np.float64]
    coverage: float


def locate(mask: RunLengthMask, depth: DepthImage, camera: CameraModel) -> ObjectPosition | None:
    """Return place and size of a thing; None if there is too little depth on its mask.

    Pixels of the mask whose depth lies apart (background at the border of the mask, a reflection)
    are left out as long as they are fewer than half.

    Args:
        mask: of the image that `camera` describes.
        depth: aligned to that image; see `DepthImage.check_fits`.
    """
    rows, columns = mask_pixels(mask, MAX_PIXELS)
    if not rows.size:
        return None
    z = depth.at(rows, columns, mask.height, mask.width)
    rays = camera.rays(rows, columns)
    known = np.isfinite(z) & np.isfinite(rays[0])
    belongs = np.zeros(len(z), np.bool_)
    belongs[known] = _agreeing(z[known])
    count = int(belongs.sum())
    if count < FEWEST_POINTS:
        return None
    z = z[belongs].astype(np.float64)
    points = np.stack([rays[0, belongs] * z, rays[1, belongs] * z, z])
    ordered = np.sort(points, axis=1)
    position = (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2.0
    outside = int(OUTERMOST * count)
    low, high = ordered[:, outside], ordered[:, count - 1 - outside]
    offsets = points - position[:, None]
    return ObjectPosition(
        position=position,
        covariance=offsets @ offsets.T / count,
        box_center=(low + high) / 2.0,
        box_size=high - low,
        coverage=count / len(rows),
    )


def _agreeing(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which depths (N,), metres, belong to the surface that most of them show."""
    inverse = 1.0 / z.astype(np.float64)
    agreeing = np.ones(len(z), np.bool_)
    for _ in range(ROUNDS if len(z) else 0):
        middle = np.median(inverse[agreeing])
        distances = np.abs(inverse - middle)
        spread = DEVIATIONS * np.median(distances[agreeing])
        agreeing = distances <= max(float(spread), MIN_SHARE * float(middle))
    return agreeing
