"""From a camera image to the network input (docs/reference/rmpsam.md, section 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native

MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # R, G, B
STD = np.array([58.395, 57.12, 57.375], np.float32)
SIZE_DIVISOR = 32
MAX_SIDE = 16384  # pixels; larger images are a mistake, and the kernels count on it


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image was fitted into the network input; every size is (height, width) in pixels.

    Attributes:
        image_size: the camera image.
        resized_size: after the ratio-keeping resize.
        padded_size: after padding right and bottom.

    Raises:
        ValueError: unless all are positive and resized_size fits into padded_size.
    """

    image_size: tuple[int, int]
    resized_size: tuple[int, int]
    padded_size: tuple[int, int]

    def __post_init__(self) -> None:
        for name in ("image_size", "resized_size", "padded_size"):
            size = getattr(self, name)
            if len(size) != 2 or not all(1 <= side <= MAX_SIDE for side in size):
                raise ValueError(f"{name} must be (height, width) of 1 to {MAX_SIDE}, got {size}")
        if any(r > p for r, p in zip(self.resized_size, self.padded_size, strict=True)):
            raise ValueError(
                f"resized_size {self.resized_size} does not fit into "
                f"padded_size {self.padded_size}"
            )

    def kernel_sizes(self, mask_size: tuple[int, int]) -> NDArray[np.int32]:
        """Mask, padded, resized and image sizes, (8,), as the compiled kernels want them."""
        sizes = (*mask_size, *self.padded_size, *self.resized_size, *self.image_size)
        return np.array(sizes, np.int32)


def resized_size(image_size: tuple[int, int], limits: tuple[int, int]) -> tuple[int, int]:
    """Size (height, width) of an image after the ratio-keeping resize.

    Args:
        image_size: (height, width) in pixels.
        limits: (long, short) side in pixels that the result may not exceed. One of the two is met
            exactly, up to rounding; images also grow.

    Raises:
        ValueError: sizes or limits below 1.

    Source: docs/reference/rmpsam.md, section 10.
    """
    if min(image_size) < 1:
        raise ValueError(f"image size must be at least 1 x 1, got {image_size}")
    if min(limits) < 1 or limits[0] < limits[1]:
        raise ValueError(f"limits must be (long, short) with long >= short >= 1, got {limits}")
    factor = min(limits[0] / max(image_size), limits[1] / min(image_size))
    height, width = (max(1, int(side * factor + 0.5)) for side in image_size)
    return height, width


def fit(image_size: tuple[int, int], limits: tuple[int, int]) -> Letterbox:
    """Fit an image of this size: resized within `limits`, padded to multiples of 32."""
    size = resized_size(image_size, limits)
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in size)
    return Letterbox((image_size[0], image_size[1]), size, (height, width))


def preprocess(
    image: NDArray[np.uint8],
    limits: tuple[int, int],
    channel_order: Literal["rgb", "bgr"] = "rgb",
) -> tuple[NDArray[np.float32], Letterbox]:
    """Resize, normalise and pad one image for the network (docs/reference/rmpsam.md, section 10).

    Args:
        image: (H, W, 3) uint8 in `channel_order`, any strides.
        limits: (long, short) side in pixels.

    Returns:
        The input (1, 3, h, w) float32 in R, G, B order, h and w multiples of 32, padding 0 (the
        mean colour), and how the image was fitted.

    Raises:
        ValueError: another dtype, shape or channel order.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = getattr(image, "dtype", type(image))
        raise ValueError(f"image must be a uint8 array, got {got}")
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape) < 1:
        raise ValueError(f"image must have shape (height, width, 3), got {image.shape}")
    if channel_order not in ("rgb", "bgr"):
        raise ValueError(f"channel_order must be 'rgb' or 'bgr', got {channel_order!r}")
    geometry = fit((image.shape[0], image.shape[1]), limits)
    pixels = _resize(image, geometry.resized_size)
    if channel_order == "bgr":
        pixels = pixels[..., ::-1]
    return _native.normalize(pixels, MEAN, STD, geometry.padded_size), geometry


def _resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Bilinear resize of an image (H, W, 3) to a size (height, width); may be a view of it."""
    ratio = image.shape[0] // size[0]
    if ratio % 2 and image.shape[:2] == (ratio * size[0], ratio * size[1]):
        # The centre of a new pixel is that of an old one, whose neighbours then have no weight.
        return image[ratio // 2 :: ratio, ratio // 2 :: ratio]
    height, width = size
    pixels = np.ascontiguousarray(image)
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR))
