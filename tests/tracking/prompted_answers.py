"""Scripted answers of a network about one prompted object."""

from __future__ import annotations

import numpy as np

from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
from rmpsam_ros.segmentation.run_length import RunLengthMask, encode_mask
from rmpsam_ros.tracking.prompted_records import Anchor, Observation

SIZE = (100, 200)
RED, GREEN = np.eye(8, dtype=np.float32)[:2]
CLICK = ObjectPrompt(np.array([[20, 30]], np.float32), np.array([1]), np.zeros((0, 4), np.float32))


def mask(x: int, side: int) -> RunLengthMask:
    pixels = np.zeros(SIZE, bool)
    pixels[20 : 20 + side, x : x + side] = True
    return encode_mask(pixels)


def seen(
    stamp, x=10, side=20, score=0.9, appearance=RED, coverage=None, prompt=None, queries=None
):
    where = mask(x, side)
    box = tuple(float(edge) for edge in where.box)
    anchor = Anchor(box, np.array([[x + side / 2, 30]], np.float32), SIZE)
    queries = queries or {}  # embeddings by place
    return Observation(
        stamp,
        score,
        where,
        anchor,
        appearance,
        coverage or {},
        tuple(queries),
        np.array(list(queries.values()), np.float32).reshape(len(queries), 4),
        prompt,
    )


def nothing(stamp):
    return seen(stamp, side=0, score=0.0, appearance=np.zeros(0, np.float32))


def follow(objects, observation):
    """Let one frame answer for the only followed object."""
    (following,) = objects.followed(observation.stamp)
    return objects.observe(following, observation)
