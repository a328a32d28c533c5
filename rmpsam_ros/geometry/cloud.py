"""Points in space with colour, class and instance."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.geometry.camera_model import CameraModel
from rmpsam_ros.geometry.depth_image import DepthImage

# One point: x, y, z in metres; rgb as 0x00RRGGBB; class and instance as in the label images.
POINT = np.dtype(
    [
        ("x", np.float32),
        ("y", np.float32),
        ("z", np.float32),
        ("rgb", np.uint32),
        ("class_id", np.uint16),
        ("instance_id", np.uint16),
    ]
)


# One point of a cloud that has one for every pixel: its labels are in the label images.
PLACE = np.dtype([("x", np.float32), ("y", np.float32), ("z", np.float32)])


def pixel_points(
    depth: DepthImage, camera: CameraModel, height: int, width: int
) -> NDArray[np.void]:
    """Return the place of every pixel, (height, width) of type `PLACE`.

    All three are NaN where depth or ray is unknown, elsewhere those of `labelled_points`.

    Args:
        depth: aligned to the image; see `DepthImage.check_fits`.
        camera: of the image, which has this height and width.
    """
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    z = depth.at(rows, columns, height, width)
    x, y = camera.rays(rows, columns)
    points = np.empty((height, width), PLACE)
    np.multiply(x, z, out=points["x"])
    np.multiply(y, z, out=points["y"])
    z[np.isnan(points["x"])] = np.nan  # where the ray is unknown
    points["z"] = z
    return points


def labelled_points(
    pixels: NDArray[np.uint8],
    channel_order: Literal["rgb", "bgr"],
    classes: NDArray[np.uint8 | np.uint16],
    instances: NDArray[np.uint16],
    depth: DepthImage,
    camera: CameraModel,
    stride: int,
) -> NDArray[np.void]:
    """Return a point for every stride-th pixel, in both directions, whose depth is known.

    Args:
        pixels: (H, W, 3) uint8.
        classes, instances: (H, W), values of the label images.
        depth: aligned to the image; see `DepthImage.check_fits`.
        camera: of the image.
        stride: at least 1.

    Returns:
        (N,) of type `POINT`, in row-major order of the pixels.
    """
    height, width = classes.shape
    first_row, first_column = min(stride // 2, height - 1), min(stride // 2, width - 1)
    rows = np.arange(first_row, height, stride)[:, None]
    columns = np.arange(first_column, width, stride)[None, :]
    every = np.s_[first_row::stride, first_column::stride]
    z = depth.at(rows, columns, height, width)
    x, y = camera.rays(rows, columns)
    # All fields of all pixels, then one selection: cheaper than selecting for every field.
    points = np.empty(z.shape, POINT)
    np.multiply(x, z, out=points["x"])
    np.multiply(y, z, out=points["y"])
    points["z"] = z
    red, green, blue = (0, 1, 2) if channel_order == "rgb" else (2, 1, 0)
    colors = pixels[every].astype(np.uint32)
    points["rgb"] = colors[..., red] << 16 | colors[..., green] << 8 | colors[..., blue]
    points["class_id"] = classes[every]
    points["instance_id"] = instances[every]
    return points[np.isfinite(points["x"])]  # NaN where depth or ray is unknown
