"""Made-up network outputs with known properties, from a seed."""

from __future__ import annotations

import cv2
import numpy as np


def class_logits(rng, queries, kept, num_classes=133):
    """(N, C + 1): the first `kept` queries are sure of some class, the others of "none"."""
    logits = rng.normal(0.0, 0.3, (queries, num_classes + 1)).astype(np.float32)
    for query in range(kept):
        logits[query, rng.integers(num_classes)] = rng.uniform(8.0, 12.0)
    logits[kept:, num_classes] = 10.0
    return logits


def cells(rng, queries, kept, size, slope=1.2):
    """(N, h, w): the kept queries share the image like cells, borders `slope` logits per cell."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    logits = np.full((queries, height, width), -8.0, np.float32)
    if kept:
        centers = rng.uniform(0.0, 1.0, (kept, 2)) * (height, width)
        weights = rng.uniform(0.8, 1.2, kept)
        distance = np.stack(
            [w * np.hypot(y - cy, x - cx) for (cy, cx), w in zip(centers, weights, strict=True)]
        )
        nearest = np.partition(np.concatenate([distance, distance[:1] + 9.0]), 1, axis=0)[:2]
        rival = np.where(distance == nearest[0], nearest[1], nearest[0])
        logits[:kept] = np.clip((rival - distance) * slope, -12.0, 12.0)
    logits += rng.normal(0.0, 0.3, logits.shape)
    return np.stack([cv2.GaussianBlur(one, (0, 0), 0.8) for one in logits]).astype(np.float32)


def blobs(rng, queries, size, offset=0.0, scale=6.0):
    """(N, h, w): smooth random hills that overlap freely; negative offsets make them rare."""
    noise = rng.normal(0.0, 1.0, (queries, *size)).astype(np.float32)
    sigma = max(0.5, min(size) / 8)
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in noise])
    smooth /= smooth.std() + 1e-6
    return (smooth * scale + offset).astype(np.float32)


def noise(rng, queries, size, scale=3.0):
    """(N, h, w): every cell on its own; the worst case for any shortcut."""
    return rng.normal(0.0, scale, (queries, *size)).astype(np.float32)
