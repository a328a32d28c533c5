"""Prompts made from masks: random points, and noisy boxes.

Source: docs/reference/rmpsam.md, sections 7 and 17.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.model.prompt_encoder import POINT_HALF_SIZE

NOISE = 0.4 * 0.01
"""Largest change of a box, as a share of its size."""


def sample_prompts(
    masks: NDArray[np.bool_],
    number: int,
    box_share: float,
    content: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw prompts for masks [G, H, W], each of which has pixels.

    Args:
        content: (height, width) of the image in the crop, by which boxes are divided.

    Returns:
        Boxes [number, 4], x1, y1, x2, y2 in 0..1, and the mask each belongs to [number]. Every
        mask comes up once before any comes up again.
    """
    if len(masks) == 0:
        raise ValueError("no masks to make prompts from")
    rounds = -(-number // len(masks))
    owners = np.concatenate([rng.permutation(len(masks)) for _ in range(rounds)])[:number]
    boxes = np.empty((number, 4), np.float32)
    for index, owner in enumerate(owners):
        rows, columns = np.nonzero(masks[owner])
        if rng.random() < box_share:
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            boxes[index] = _with_noise(np.array(box, np.float32), rng)
        else:
            pixel = rng.integers(len(rows))
            x, y = columns[pixel] + 0.5, rows[pixel] + 0.5
            half = POINT_HALF_SIZE
            boxes[index] = (x - half, y - half, x + half, y + half)
    height, width = content
    boxes /= np.array((width, height, width, height), np.float32)
    return boxes, owners


def _with_noise(box: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Move the centre and change the size of a box in pixels."""
    width, height = box[2] - box[0], box[3] - box[1]
    dx, dy, dw, dh = rng.uniform(-NOISE, NOISE, 4) * (width / 2, height / 2, width, height)
    x, y = (box[0] + box[2]) / 2 + dx, (box[1] + box[3]) / 2 + dy
    width, height = width + dw, height + dh
    return np.array((x - width / 2, y - height / 2, x + width / 2, y + height / 2), np.float32)
