"""From a picture to the model's frame and from low-resolution masks back to the picture."""

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from rmpsam_ros.model.sam.prompt_model import IMAGE_SIZE
from rmpsam_ros.segmentation.preprocess import MEAN, STD

MASK_THRESHOLD = 0.0
"""Logits above belong to the object."""

_MASKS_AT_ONCE = 16
_FIXED_POINT_BITS = 22


class SamFrame(NamedTuple):
    """How a picture lies in the model's square frame: at the top left, filled right and below.

    Attributes:
        original: height and width of the picture.
        resized: height and width of the picture in the model's frame.
    """

    original: tuple[int, int]
    resized: tuple[int, int]


def frame_geometry(height: int, width: int) -> SamFrame:
    """Where a picture of this size lies when its long side becomes 1024 pixels.

    Raises:
        ValueError: an empty picture, or one so narrow that nothing of it would remain.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture has at least one pixel, got {height} x {width}")
    scale = IMAGE_SIZE / max(height, width)
    resized = math.floor(height * scale + 0.5), math.floor(width * scale + 0.5)
    if min(resized) < 1:
        raise ValueError(
            f"a picture of {height} x {width} pixels is too narrow: its short side vanishes when "
            f"the long one becomes {IMAGE_SIZE}"
        )
    return SamFrame((height, width), resized)


def preprocess(picture: NDArray[np.uint8]) -> tuple[Tensor, SamFrame]:
    """A picture as the encoders want it (docs/reference/sam_family.md, section 1.1).

    Args:
        picture: [H, W, 3] uint8, RGB.

    Returns:
        Float32 [1, 3, 1024, 1024], normalised, zero where there is no picture, and the geometry
        for prompts and masks.

    Raises:
        ValueError: another shape or type.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"a picture is uint8 [H, W, 3] in RGB, got {picture.dtype} {list(picture.shape)}"
        )
    geometry = frame_geometry(*picture.shape[:2])
    height, width = geometry.resized
    resized = resize_bilinear(picture, height, width)
    frame = np.zeros((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    for channel, normalised in enumerate(_normalised_levels()):
        levels = cv2.extractChannel(resized, channel)
        frame[0, channel, :height, :width] = cv2.LUT(levels, normalised)
    return torch.from_numpy(frame), geometry


@functools.cache
def _normalised_levels() -> NDArray[np.float32]:
    """What every grey level becomes, [3, 256]; looking it up is much faster than computing it."""
    levels = np.arange(256, dtype=np.float32)
    return (levels - MEAN[:, None]) / STD[:, None]


def points_to_frame(points: NDArray[np.floating], geometry: SamFrame) -> Tensor:
    """Points [..., 2] (x, y), from pixels of the picture to pixels of the frame, float32."""
    (height, width), (new_height, new_width) = geometry
    scale = np.array([new_width / width, new_height / height])
    return torch.from_numpy((np.asarray(points, np.float64) * scale).astype(np.float32))


def boxes_to_frame(boxes: NDArray[np.floating], geometry: SamFrame) -> Tensor:
    """Boxes [..., 4] as x0, y0, x1, y1, from the picture to the frame (float32)."""
    boxes = np.asarray(boxes, np.float64)
    corners = boxes.reshape(*boxes.shape[:-1], 2, 2)
    return points_to_frame(corners, geometry).reshape(boxes.shape)


def logits_to_picture(logits: Tensor, geometry: SamFrame) -> Tensor:
    """Low-resolution logits [K, M, h, w] at the picture's size, [K, M, H, W].

    Two bilinear interpolations, as in SAM: to the frame, of which the filling is cut off, and to
    the picture.
    """
    height, width = geometry.resized
    frame = (IMAGE_SIZE, IMAGE_SIZE)
    logits = interpolate(logits, frame, mode="bilinear", align_corners=False)
    logits = logits[..., :height, :width]
    return interpolate(logits, geometry.original, mode="bilinear", align_corners=False)


def masks_to_picture(logits: Tensor, geometry: SamFrame) -> NDArray[np.bool_]:
    """Masks [K, M, H, W] of the picture's size from low-resolution logits [K, M, h, w]."""
    masks = [
        (logits_to_picture(part, geometry) > MASK_THRESHOLD).cpu()
        for part in logits.split(_MASKS_AT_ONCE)
    ]
    return torch.cat(masks).numpy()


def resize_bilinear(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize [H, W, C] as Pillow's bilinear filter does, to the last bit.

    Every output pixel is a weighted mean under a triangle, as wide as two input pixels or, when
    shrinking, as two output pixels; first along the rows, then along the columns, each time in
    fixed point and rounded to uint8. (Pillow 13 takes the other order when it shrinks pictures
    about twice as high as wide or more, which changes single grey levels.) OpenCV has no such
    filter, PyTorch's differs in single grey levels, and the published weights were trained behind
    this one.
    """
    # Picking whole rows is fast, picking pixels is not: work on the transposed picture.
    across = np.ascontiguousarray(picture.transpose(1, 0, 2))
    narrowed = _resize_first_axis(across, width).transpose(1, 0, 2)
    return _resize_first_axis(np.ascontiguousarray(narrowed), height)


def _resize_first_axis(rows: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if len(rows) == size:
        return rows
    sources, weights = _triangle_weights(len(rows), size)
    total = np.full((size, *rows.shape[1:]), 1 << (_FIXED_POINT_BITS - 1), np.int32)
    for source, weight in zip(sources, weights, strict=True):
        total += np.multiply(rows[source], weight[:, None, None], dtype=np.int32)
    return (total >> _FIXED_POINT_BITS).clip(0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=32)
def _triangle_weights(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For every tap the source rows [taps, new] and their fixed-point weights [taps, new]."""
    scale = old / new
    support = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), old)
    source = first + np.arange((end - first).max())[:, None]
    distance = np.abs((source - centre + 0.5) * (1.0 / support))
    weight = np.where((source < end) & (distance < 1), 1 - distance, 0.0)
    weight /= weight.sum(axis=0)
    fixed = np.floor(weight * (1 << _FIXED_POINT_BITS) + 0.5).astype(np.int32)
    return np.minimum(source, old - 1), fixed
