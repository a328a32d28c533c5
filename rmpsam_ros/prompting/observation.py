"""From the mask that a frame answered to what decides whether it is still the object."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting.answers import Answer
from rmpsam_ros.prompting.frames import KeptFrame
from rmpsam_ros.segmentation.interior import color_histogram, deepest_point
from rmpsam_ros.segmentation.overlap import iou
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
from rmpsam_ros.segmentation.run_length import RunLengthMask, encode_mask
from rmpsam_ros.tracking.prompted_records import Anchor, Observation


def observe(
    frame: KeptFrame,
    answer: Answer,
    asked: Anchor,
    prompt: ObjectPrompt | None = None,
    *,
    by_queries: bool = False,
) -> Observation:
    """Return what an answer says about its object.

    Args:
        asked: where the object was looked for, which remains its place if nothing was found.
        prompt: clicks and boxes of the person who asked; None when following.
        by_queries: note which object queries show the same.
    """
    mask = encode_mask(answer.mask)
    anchor, queries = asked, np.zeros(0, np.intp)
    appearance = np.zeros(0, np.float32)
    if mask.area:
        x_min, y_min, x_max, y_max = mask.box
        inside = answer.mask[y_min:y_max, x_min:x_max]
        anchor = _place(mask, inside)
        appearance = color_histogram(frame.rgb[y_min:y_max, x_min:x_max], inside)
        if by_queries:
            queries = frame.queries.agreeing(answer.mask, frame.geometry)
    return Observation(
        stamp=frame.stamp,
        score=answer.score if mask.area else 0.0,
        mask=mask,
        anchor=anchor,
        appearance=appearance,
        coverage=coverage(answer.mask, mask, frame.tracks),
        queries=tuple(queries.tolist()),
        embeddings=frame.queries.embeddings[queries],
        prompt=prompt,
    )


def track_anchor(frame: KeptFrame, track_id: int) -> Anchor | None:
    """Return where a frame shows a confirmed panoptic track, None if it does not."""
    mask = frame.tracks.get(track_id)
    return _place(mask, crop(mask)) if mask is not None and mask.area else None


def coverage(
    mask: NDArray[np.bool_], encoded: RunLengthMask, tracks: Mapping[int, RunLengthMask]
) -> dict[int, float]:
    """Return the intersection over union of a mask, (H, W), with every track's mask."""
    overlaps = {}
    for track_id, other in tracks.items():
        x_min, y_min, x_max, y_max = other.box
        a, b = encoded.box, other.box
        shared = 0
        if min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1]):
            shared = int(np.count_nonzero(mask[y_min:y_max, x_min:x_max] & crop(other)))
        overlaps[track_id] = float(iou(shared, encoded.area, other.area))
    return overlaps


def crop(mask: RunLengthMask) -> NDArray[np.bool_]:
    """Return the mask inside its box, (h, w) bool."""
    x_min, y_min, x_max, y_max = mask.box
    values = np.arange(len(mask.counts)) % 2 == 1
    return np.repeat(values, mask.counts).reshape(y_max - y_min, x_max - x_min)


def _place(mask: RunLengthMask, inside: NDArray[np.bool_]) -> Anchor:
    x_min, y_min, x_max, y_max = mask.box
    deepest = deepest_point(inside)
    assert deepest is not None  # the mask has pixels
    point = np.array([[x_min + deepest[0], y_min + deepest[1]]], np.float32)
    box = (float(x_min), float(y_min), float(x_max), float(y_max))
    return Anchor(box, point, (mask.height, mask.width))
