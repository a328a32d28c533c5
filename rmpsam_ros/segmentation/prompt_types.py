"""Prompts for one object: checks, network input, and the mask from the network's answers.

The network takes a prompt as a box; a click is a box of 6 pixels around it
(docs/reference/rmpsam.md, section 7). It has no notion of a background click, and prompts do not
see each other. So each point and each box is a query of its own, and what several of them mean
together is decided here:

- every foreground point and every box claims the pixels where its mask logit is above 0, and the
  object is the union of the claims: a click always adds what the network finds under it;
- every background point takes pixels away where its logit is larger than that of every foreground
  query: of two masks that want a pixel, the more certain one gets it, as in the panoptic fusion.

One foreground prompt alone gives exactly the mask of the official implementation
(docs/reference/rmpsam.md, section 11, "Interactive").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.segmentation.preprocess import Letterbox

FOREGROUND, BACKGROUND = 1, 0
POINT_RADIUS = 3.0  # pixels of the resized image
MAX_POINTS = 32  # of one object; more clicks than anyone makes, few enough to answer in time
MAX_BOXES = 8


class PromptError(ValueError):
    """A prompt that cannot be answered; the message says why."""


@dataclass(frozen=True)
class ObjectPrompt:
    """Clicks and boxes that point at one object, in pixels of the camera image.

    Attributes:
        points: (P, 2) float32 x, y; (0, 0) is the centre of the top left pixel.
        labels: (P,), 1 foreground, 0 background.
        boxes: (B, 4) float32 x_min, y_min, x_max, y_max, edges: (0, 0, 1, 1) is the top left
            pixel.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.uint8]
    boxes: NDArray[np.float32]


def validate_prompt(prompt: ObjectPrompt, image_size: tuple[int, int]) -> None:
    """Raise PromptError unless the prompt can be answered on an image (height, width).

    It must have a foreground point or a box, at most MAX_POINTS points and MAX_BOXES boxes, labels
    0 or 1, finite coordinates inside the image, and boxes that are not inverted.
    """
    points, labels, boxes = (np.asarray(a) for a in (prompt.points, prompt.labels, prompt.boxes))
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise PromptError(
            f"points must be (P, 2) with one label each, got {points.shape} and {labels.shape}"
        )
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise PromptError(f"boxes must be (B, 4), got {boxes.shape}")
    if len(points) > MAX_POINTS or len(boxes) > MAX_BOXES:
        raise PromptError(
            f"at most {MAX_POINTS} points and {MAX_BOXES} boxes are allowed, "
            f"got {len(points)} and {len(boxes)}"
        )
    if not np.isin(labels, (BACKGROUND, FOREGROUND)).all():
        raise PromptError(f"labels must be 0 (background) or 1 (foreground), got {labels}")
    if not len(boxes) and not (labels == FOREGROUND).any():
        raise PromptError("a prompt needs at least one foreground point or one box")
    _check_coordinates(points, boxes, image_size)


def _check_coordinates(
    points: NDArray[np.generic], boxes: NDArray[np.generic], image_size: tuple[int, int]
) -> None:
    height, width = image_size
    for x, y in points.astype(np.float64):
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise PromptError(f"point ({x:g}, {y:g}) is outside the {width} x {height} image")
    for x_min, y_min, x_max, y_max in boxes.astype(np.float64):
        text = f"box ({x_min:g}, {y_min:g}, {x_max:g}, {y_max:g})"
        horizontal = all(0 <= x <= width for x in (x_min, x_max))  # False for NaN, too
        vertical = all(0 <= y <= height for y in (y_min, y_max))
        if not (horizontal and vertical):
            raise PromptError(f"{text} is outside the {width} x {height} image: clip it first")
        if x_max <= x_min or y_max <= y_min:
            raise PromptError(f"{text} needs x_max > x_min and y_max > y_min")


def prompt_boxes(
    prompt: ObjectPrompt, geometry: Letterbox, padded: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """The prompt as the network takes it: one box per point and box, points first.

    Returns:
        (K, 4) float32 x_min, y_min, x_max, y_max divided by the width and height of
        geometry.resized_size, or if ``padded`` of geometry.padded_size (a point is a box of 6
        resized pixels around it, not clipped at the border), and the signs (K,) int8: +1
        foreground, -1 background.

    Source: docs/reference/rmpsam.md, section 7.
    """
    scale_y, scale_x = (
        resized / side
        for resized, side in zip(geometry.resized_size, geometry.image_size, strict=True)
    )
    scale = np.array([scale_x, scale_y])
    centers = (prompt.points.reshape(-1, 2).astype(np.float64) + 0.5) * scale - 0.5
    around = np.concatenate([centers - POINT_RADIUS, centers + POINT_RADIUS], axis=1)
    edges = prompt.boxes.reshape(-1, 4).astype(np.float64) * np.tile(scale, 2)
    height, width = geometry.padded_size if padded else geometry.resized_size
    boxes = np.concatenate([around, edges]) / (width, height, width, height)
    signs = np.ones(len(boxes), np.int8)
    signs[: len(centers)][np.asarray(prompt.labels) == BACKGROUND] = -1
    return boxes.astype(np.float32), signs


def combine_prompt_masks(
    mask_logits: NDArray[np.float32],
    signs: NDArray[np.int8],
    ious: NDArray[np.float32],
    geometry: Letterbox,
) -> tuple[NDArray[np.bool_], float]:
    """Mask and score of one object from the answers to its prompts, by the rule of this module.

    Args:
        mask_logits: (K, h, w) float32 over the padded input, at any resolution.
        signs: (K,) as from `prompt_boxes`.
        ious: (K,) float32, predicted mask quality.

    Returns:
        The mask (H, W) bool at geometry.image_size and the mean predicted quality of the
        foreground queries, 0 to 1.

    Raises:
        ValueError: arrays that do not fit together or without a foreground query.
        FloatingPointError: mask logits or qualities that are not finite.
    """
    if mask_logits.dtype != np.float32 or mask_logits.ndim != 3 or 0 in mask_logits.shape:
        raise ValueError(
            "mask_logits must be (queries, h, w) float32, "
            f"got {mask_logits.shape} {mask_logits.dtype}"
        )
    count = len(mask_logits)
    if np.shape(signs) != (count,) or np.shape(ious) != (count,):
        raise ValueError(
            f"{count} masks need as many signs and qualities, "
            f"got {np.shape(signs)} and {np.shape(ious)}"
        )
    foreground = np.flatnonzero(np.asarray(signs) > 0).astype(np.int32)
    background = np.flatnonzero(np.asarray(signs) <= 0).astype(np.int32)
    if not foreground.size:
        raise ValueError("at least one of the queries must be foreground")
    quality = float(np.mean(np.clip(np.asarray(ious, np.float64)[foreground], 0.0, 1.0)))
    if not np.isfinite(quality):
        raise FloatingPointError("predicted mask qualities are not finite")
    sizes = geometry.kernel_sizes(mask_logits.shape[1:])
    logits = np.ascontiguousarray(mask_logits)
    mask, area, _ = _native.binary_mask(logits, foreground, background, sizes)
    return mask, quality if area else 0.0
