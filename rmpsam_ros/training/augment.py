"""Large-scale jitter, flip, crop and pad, colour jitter, pseudo video.

Source: docs/reference/rmpsam.md, section 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.samples import Sample
from rmpsam_ros.segmentation.preprocess import MEAN, STD


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random transformations.

    Attributes:
        height, width: size of the crop, multiples of 32.
        scale: factor on the size at which the image just fits into the crop.
        flip: probability of mirroring.
        color: largest relative change of brightness, contrast and saturation.
        minimum_visible: smallest share of an object that must stay in the crop.
        paste: probability that objects of another image are pasted in.
        crowd: that of a group of people of several other images.
    """

    height: int = 1024
    width: int = 1024
    scale: tuple[float, float] = (0.1, 2.0)
    flip: float = 0.5
    color: float = 0.0
    minimum_visible: float = 0.05
    paste: float = 0.0
    crowd: float = 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    """How an image lies in the crop: scaled to ``size``, mirrored or not, moved by ``origin``.

    Attributes:
        size: (height, width) after scaling.
        origin: (y, x) of the crop in the scaled image.
    """

    size: tuple[int, int]
    origin: tuple[int, int]
    mirrored: bool


def random_placements(
    image_size: tuple[int, int], config: AugmentConfig, frames: int, rng: np.random.Generator
) -> list[Placement]:
    """Draw one placement per frame: same scale and mirroring, a crop of its own for each."""
    height, width = image_size
    fit = min(config.height / height, config.width / width)
    factor = fit * rng.uniform(*config.scale)
    size = (max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1))
    mirrored = bool(rng.random() < config.flip)
    room = (max(size[0] - config.height, 0), max(size[1] - config.width, 0))
    origins = rng.integers((0, 0), (room[0] + 1, room[1] + 1), size=(frames, 2))
    return [Placement(size, (int(y), int(x)), mirrored) for y, x in origins]


def place_image(
    image: NDArray[np.uint8], placement: Placement, config: AugmentConfig
) -> NDArray[np.float32]:
    """Return the normalised crop, float32 [3, height, width]; padding is 0 (mean colour)."""
    size = placement.size
    smaller = size[0] < image.shape[0]
    scaled = cv2.resize(
        image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    if placement.mirrored:
        scaled = scaled[:, ::-1]
    part = _crop(scaled, placement, config)
    crop = np.zeros((config.height, config.width, 3), np.float32)
    crop[: part.shape[0], : part.shape[1]] = (part - MEAN) / STD
    return np.ascontiguousarray(crop.transpose(2, 0, 1))


def place_mask(
    mask: NDArray[np.bool_], placement: Placement, config: AugmentConfig, outside: bool = False
) -> NDArray[np.bool_]:
    """Return the crop of a mask, bool [height, width], filled with ``outside`` where padded."""
    scaled = cv2.resize(
        mask.astype(np.uint8), placement.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    if placement.mirrored:
        scaled = scaled[:, ::-1]
    part = _crop(scaled, placement, config)
    crop = np.full((config.height, config.width), outside)
    crop[: part.shape[0], : part.shape[1]] = part.astype(bool)
    return crop


def content_size(placement: Placement, config: AugmentConfig) -> tuple[int, int]:
    """Return (height, width) of the part of the crop that the image covers."""
    return min(placement.size[0], config.height), min(placement.size[1], config.width)


def jitter_colors(
    image: NDArray[np.uint8], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change brightness, contrast and saturation of (H, W, 3) by factors of 1 +- strength."""
    if strength == 0:
        return image
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    pixels = image.astype(np.float32) * brightness
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = (pixels - grey) * saturation + grey
    return np.clip(pixels, 0, 255).astype(np.uint8)


def place_frames(
    frames: list[Sample], placements: list[Placement], config: AugmentConfig
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
    """Apply placements to the frames of a clip (one frame: an image).

    Returns:
        Images [T, 3, h, w], masks [G, T, h, w], classes [G] and ignore [T, h, w]. Objects of which
        too little is left in every frame are moved to ``ignore``.
    """
    images = np.stack(
        [place_image(f.image, p, config) for f, p in zip(frames, placements, strict=True)]
    )
    ignore = np.stack(
        [place_mask(f.ignore, p, config) for f, p in zip(frames, placements, strict=True)]
    )
    masks, classes = [], []
    for index, class_index in enumerate(frames[0].classes):
        placed = np.stack(
            [
                place_mask(f.masks[index], p, config)
                for f, p in zip(frames, placements, strict=True)
            ]
        )
        if _visible(frames, placements, index, placed) >= config.minimum_visible:
            masks.append(placed)
            classes.append(class_index)
        else:
            ignore |= placed
    shape = (0, len(frames), config.height, config.width)
    stacked = np.stack(masks) if masks else np.zeros(shape, bool)
    return images, stacked, np.array(classes, np.int64), ignore


def _crop(image: NDArray[Any], placement: Placement, config: AugmentConfig) -> NDArray[Any]:
    top, left = placement.origin
    return image[top : top + config.height, left : left + config.width]


def _visible(
    frames: list[Sample], placements: list[Placement], index: int, placed: NDArray[np.bool_]
) -> float:
    """Return the share of an object's area that is in the crops; 0 if fewer than 8 pixels."""
    area = placed.sum()
    if area < 8:
        return 0.0
    expected = 0.0
    for frame, placement in zip(frames, placements, strict=True):
        scale = placement.size[0] * placement.size[1] / frame.masks[index].size
        expected += float(frame.masks[index].sum()) * scale
    return float(area) / max(expected, 1.0)
