"""From pixels to rays: pinhole cameras with and without lens distortion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.geometry.errors import GeometryError

# Distortion models of sensor_msgs/CameraInfo, with the numbers of coefficients they may have.
DISTORTION_MODELS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
ITERATIONS, PRECISION = 50, 1e-3  # of undoing a distortion: at most, and pixels that are enough
GRID = 6  # pixels between the places where a distortion is undone; between them it is smooth
STEEPEST = 5.0  # of x / z and y / z (79 degrees); beyond it depth along z tells no place
ROUND_TRIP = 0.5  # pixels; a ray that comes back farther from its pixel is none


@dataclass(frozen=True)
class CameraModel:
    """How a camera sees: focal lengths, principal point, lens distortion.

    Args:
        height, width: of its images, pixels.
        fx, fy, cx, cy: focal lengths and principal point, pixels.
        distortion_model: a key of `DISTORTION_MODELS`, or empty for none.
        distortion: its coefficients.

    Raises:
        GeometryError: a number is not finite, a focal length or size not above 0, the model is
            unknown, or it has another number of coefficients.
    """

    height: int
    width: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if not np.isfinite(numbers).all():
            raise GeometryError("the calibration has numbers that are not finite")
        if self.height < 1 or self.width < 1:
            raise GeometryError(
                f"the calibration is for images of {self.width} x {self.height} pixels"
            )
        if self.fx <= 0.0 or self.fy <= 0.0:
            raise GeometryError(
                f"the focal lengths are {self.fx:g} and {self.fy:g} pixels; expected more than 0: "
                "the camera is not calibrated"
            )
        if self.distortion_model:
            self._check_distortion()

    def _check_distortion(self) -> None:
        lengths = DISTORTION_MODELS.get(self.distortion_model)
        if lengths is None:
            raise GeometryError(
                f"distortion model '{self.distortion_model}' is not supported; expected one of "
                f"{', '.join(DISTORTION_MODELS)}, or rectified images"
            )
        if len(self.distortion) not in lengths:
            raise GeometryError(
                f"distortion model {self.distortion_model} has {len(self.distortion)} "
                f"coefficients; expected {' or '.join(str(length) for length in lengths)}"
            )

    def check_size(self, height: int, width: int) -> None:
        """Raise GeometryError unless the calibration is for images of this size."""
        if (height, width) != (self.height, self.width):
            raise GeometryError(
                f"the calibration is for images of {self.width} x {self.height} pixels, the image "
                f"has {width} x {height}; publish the camera_info that belongs to the image"
            )

    def rays(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return where the rays of pixels cross the plane z = 1.

        Args:
            rows, columns: integer pixels inside the image, of shapes that broadcast to S.

        Returns:
            x and y, (2, *S) float32; NaN where the distortion cannot be undone.
        """
        if not self.distortion_model:
            x = ((columns - self.cx) / self.fx).astype(np.float32)
            y = ((rows - self.cy) / self.fy).astype(np.float32)
            return np.stack(np.broadcast_arrays(x, y))
        return self._undistorted[:, rows, columns]

    @cached_property
    def _undistorted(self) -> NDArray[np.float32]:
        """Rays of all pixels (2, H, W); made once, and of a grid, for undoing them is slow."""
        x, y = _places(self.width), _places(self.height)
        pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)
        coefficients = np.array(self.distortion, np.float64)
        if self.distortion_model == "equidistant":
            undone = cv2.fisheye.undistortPoints(pixels, matrix, coefficients)
        else:
            undone = _undistort(pixels, matrix, coefficients)
        rays = np.array(undone, np.float64)
        with np.errstate(all="ignore"):
            back = self._project(rays, matrix, coefficients)
            right = np.abs(back - pixels).max(axis=-1) <= ROUND_TRIP
            right &= np.abs(rays).max(axis=-1) <= STEEPEST
        rays[~right] = np.nan
        known = np.ascontiguousarray(rays.reshape(len(y), len(x), 2).transpose(2, 0, 1))
        lines = _between(known.astype(np.float32), self.height, axis=1)
        return _between(lines, self.width, axis=2)

    def _project(
        self,
        rays: NDArray[np.float64],
        matrix: NDArray[np.float64],
        coefficients: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Pixels (N, 1, 2) of rays (N, 1, 2)."""
        points = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], axis=-1)
        zero = np.zeros(3)
        if self.distortion_model == "equidistant":
            pixels, _ = cv2.fisheye.projectPoints(points, zero, zero, matrix, coefficients)
        else:
            pixels, _ = cv2.projectPoints(points, zero, zero, matrix, coefficients)
        return np.asarray(pixels, np.float64).reshape(-1, 1, 2)


def _places(size: int) -> NDArray[np.float64]:
    """Return places over a side of an image, `GRID` pixels apart or less, with both ends."""
    return np.linspace(0.0, size - 1.0, -(-(size - 1) // GRID) + 1)


def _between(values: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    """Return values at all pixels of a side, linearly between those at `_places`."""
    last = values.shape[axis] - 1
    places = np.arange(size) * (last / max(size - 1, 1))
    before = np.minimum(places.astype(np.int64), max(last - 1, 0))
    after = np.minimum(before + 1, last)
    shape = [-1 if index == axis else 1 for index in range(values.ndim)]
    weight = (places - before).astype(np.float32).reshape(shape)
    low, high = values.take(before, axis), values.take(after, axis)
    low += weight * (high - low)
    return low


def _undistort(
    pixels: NDArray[np.float64], matrix: NDArray[np.float64], coefficients: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Undo a polynomial distortion, with more iterations than OpenCV takes by itself."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, ITERATIONS, PRECISION)
    # OpenCV 4 has a function of its own for it.
    iterate: Any = getattr(cv2, "undistortPointsIter", None)
    if iterate is not None:
        return np.asarray(iterate(pixels, matrix, coefficients, None, None, criteria))
    undistort: Any = cv2.undistortPoints
    return np.asarray(undistort(pixels, matrix, coefficients, criteria=criteria))


def camera_model(info: Any, rectified: bool = False) -> CameraModel:
    """Read a calibration.

    Args:
        info: any object with the fields of ``sensor_msgs/CameraInfo``.
        rectified: the images are rectified: they are described by P, and have no distortion.

    Returns:
        The camera of the images as they are published: region of interest and binning counted in.

    Raises:
        GeometryError: the calibration is empty, not plausible, or of an unknown kind.
    """
    k, p = [float(value) for value in info.k], [float(value) for value in info.p]
    if rectified:
        fx, fy, cx, cy = p[0], p[5], p[2], p[6]
    else:
        fx, fy, cx, cy = k[0], k[4], k[2], k[5]
        if fx > 0.0 and (k[3], k[6], k[7], k[8]) != (0.0, 0.0, 0.0, 1.0):
            raise GeometryError(f"K is no camera matrix: {k}")
    distortion = () if rectified else tuple(float(value) for value in info.d)
    model = str(info.distortion_model) if any(distortion) else ""
    if any(distortion) and not model:
        raise GeometryError("camera_info has coefficients D, but no distortion_model")
    region = info.roi
    x_binning, y_binning = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    return CameraModel(
        height=(int(region.height) or int(info.height)) // y_binning,
        width=(int(region.width) or int(info.width)) // x_binning,
        fx=fx / x_binning,
        fy=fy / y_binning,
        cx=_binned(cx - int(region.x_offset), x_binning),
        cy=_binned(cy - int(region.y_offset), y_binning),
        distortion_model=model,
        distortion=distortion if model else (),
    )


def _binned(place: float, binning: int) -> float:
    """Return a pixel coordinate after binning; pixel centres are at whole numbers."""
    return (place + 0.5) / binning - 0.5
