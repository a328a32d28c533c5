"""Refinement: the meaning of clicks together with those before them.

Calling again with the id of a known object refines it:

- On the frame of the earlier clicks all count together.
- On another frame earlier clicks do not count: the object, the camera or both have moved. What
  stands for them there is the place of the object in that frame, as far as it is followed:
  - background clicks alone correct it: its box and its points, and the new clicks;
  - foreground clicks near it add to it: its points and the new clicks, and its box, too, if all
    clicks lie in it (a box would cut off what lies outside);
  - foreground clicks far from it mean that something else was followed: they stand alone;
  - boxes stand alone: they say what the object is.
"""

from __future__ import annotations

import numpy as np

from rmpsam_ros.segmentation.prompt_types import FOREGROUND, MAX_POINTS, POINT_RADIUS, ObjectPrompt
from rmpsam_ros.tracking.prompted_records import Anchor

_NEAR_MARGIN = 0.5  # of the size of the box, on each side of it


def add_clicks(earlier: ObjectPrompt, later: ObjectPrompt) -> ObjectPrompt:
    """Return the clicks and boxes of both, on one frame.

    A later prompt of other shapes than expected is returned as it is, for `validate_prompt`.
    """
    try:
        return ObjectPrompt(
            np.concatenate([earlier.points, later.points]),
            np.concatenate([earlier.labels, later.labels]),
            np.concatenate([earlier.boxes, later.boxes]),
        )
    except ValueError:
        return later


def correct_place(anchor: Anchor, prompt: ObjectPrompt) -> ObjectPrompt:
    """Return a prompt with what it means for an object that is at ``anchor`` in this frame."""
    points, labels = np.asarray(prompt.points), np.asarray(prompt.labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        return prompt  # for validate_prompt
    foreground = points[labels == FOREGROUND]
    if len(prompt.boxes) or not _inside(anchor.box, foreground, _NEAR_MARGIN):
        return prompt
    place = anchor_prompt(anchor, with_box=_inside(anchor.box, foreground, 0.0))
    room = MAX_POINTS - len(points)
    if room < len(place.points):
        kept = slice(max(0, room))
        place = ObjectPrompt(place.points[kept], place.labels[kept], place.boxes)
    return add_clicks(place, prompt)


def anchor_prompt(anchor: Anchor, with_box: bool = True) -> ObjectPrompt:
    """Return the prompt that asks for an object where it is: its box and the points in it."""
    height, width = anchor.image_size
    box = np.clip(anchor.box, 0, (width, height, width, height)).astype(np.float32)
    points = np.clip(anchor.points, 0, (width - 1, height - 1)).astype(np.float32)
    return ObjectPrompt(
        points=points,
        labels=np.full(len(points), FOREGROUND, np.uint8),
        boxes=box.reshape(-1, 4)[: int(with_box)],
    )


def prompt_anchor(prompt: ObjectPrompt, image_size: tuple[int, int]) -> Anchor:
    """Return where a valid prompt points at, for an object of which nothing was found there."""
    points = prompt.points[np.asarray(prompt.labels) == FOREGROUND].reshape(-1, 2)
    if not len(points):
        points = prompt.boxes.reshape(-1, 2, 2).mean(axis=1)
    around = np.concatenate([points - POINT_RADIUS, points + POINT_RADIUS], axis=1)
    spots = np.concatenate([around, prompt.boxes.reshape(-1, 4)])
    low, high = spots[:, :2].min(axis=0), spots[:, 2:].max(axis=0)
    height, width = image_size
    x_min, y_min = np.clip(low, 0, (width - 1, height - 1)).tolist()
    x_max, y_max = np.clip(high, (x_min + 1, y_min + 1), (width, height)).tolist()
    return Anchor((x_min, y_min, x_max, y_max), points.astype(np.float32), image_size)


def _inside(box: tuple[float, float, float, float], points: np.ndarray, margin: float) -> bool:
    """Tell whether all points lie in a box that is larger by a share of its size on each side."""
    low, high = np.array(box[:2]), np.array(box[2:])
    reach = margin * (high - low)
    return bool(((points >= low - reach) & (points <= high + reach)).all())
