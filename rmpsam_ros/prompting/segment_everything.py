"""Masks of everything in a frame: which prompts are asked, and which masks are kept.

MobileSAMv2 asks for the boxes of a detector instead of a grid of points. Here the object queries
of the panoptic network are the detector: they are there already, and know stuff as well as things.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting.answers import FoundMask, PromptEngine
from rmpsam_ros.prompting.frames import KeptFrame
from rmpsam_ros.prompting.observation import crop
from rmpsam_ros.prompting.steps import Step, Steps
from rmpsam_ros.segmentation.overlap import distinct, distinct_boxes, mask_ious
from rmpsam_ros.segmentation.prompt_types import PromptError
from rmpsam_ros.segmentation.run_length import RunLengthMask

MAX_GRID = 64  # points per side
_MAX_BOXES = 320
_BOXES_A_STEP = 16  # half a second of MobileSAM on two cores: a click waits no longer for its turn
_MIN_OBJECTNESS = 0.01  # little: masks are asked for, and judged by their own scores
_MIN_SIDE = 4.0  # pixels; smaller boxes hold no object that a mask could tell
_MAX_BOX_IOU = 0.9  # intersection over union
_MAX_MASK_IOU = 0.8
_MIN_SCORE = 0.5
_MIN_AREA = 16  # pixels
_GRID = 160  # masks are compared on a map of at most this many cells a side


class Everything(NamedTuple):
    """Masks of a frame, largest first, and whether all prompts were asked."""

    found: list[FoundMask]
    complete: bool


def everything_from_boxes(
    engine: PromptEngine, frame: KeptFrame, until: float = math.inf
) -> Steps[Everything]:
    """Find a mask for every box around an object query that sees anything.

    Args:
        until: no further boxes are asked after this time, seconds of the monotonic clock; the
            surest come first.
    """
    boxes = frame.queries.boxes(frame.geometry, _MIN_OBJECTNESS)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= _MIN_SIDE).all(axis=1)]
    boxes = boxes[distinct_boxes(boxes, _MAX_BOX_IOU)][:_MAX_BOXES]
    found: list[FoundMask] = []
    complete = True
    for start in range(0, len(boxes), _BOXES_A_STEP):
        answers = engine.in_boxes(frame, boxes[start : start + _BOXES_A_STEP])
        found += [
            answer
            for answer in answers
            if answer.score >= _MIN_SCORE and answer.mask.area >= _MIN_AREA
        ]
        if start + _BOXES_A_STEP < len(boxes) and time.monotonic() > until:
            complete = False
            break
        yield Step.PAUSE
    return Everything(_largest_first(distinct_masks(found, _MAX_MASK_IOU)), complete)


def everything_from_grid(
    engine: PromptEngine, frame: KeptFrame, points_per_side: int, until: float = math.inf
) -> Steps[Everything]:
    """Find the good masks of a square grid of points, as SAM does it; ``until`` as for boxes."""
    if not 1 <= points_per_side <= MAX_GRID:
        raise PromptError(f"points_per_side is {points_per_side}; expected 1 to {MAX_GRID}")
    steps, over = engine.on_grid(frame, points_per_side), False
    try:
        step = next(steps)
        while True:
            yield step
            over = time.monotonic() > until
            step = steps.send(over)
    except StopIteration as end:
        answers = end.value
    found = [answer for answer in answers if answer.mask.area >= _MIN_AREA]
    return Everything(_largest_first(distinct_masks(found, _MAX_MASK_IOU)), not over)


def distinct_masks(found: Sequence[FoundMask], max_iou: float) -> list[FoundMask]:
    """Drop every mask whose IoU with a better one, by score, is larger (on a coarse map)."""
    if not found:
        return []
    ranked = sorted(found, key=lambda candidate: -candidate.score)
    cells = np.stack([coarse_cells(candidate.mask) for candidate in ranked])
    ious = mask_ious(cells, cells)
    return [ranked[k] for k in distinct(len(ranked), lambda k, others: ious[k, others], max_iou)]


def coarse_cells(mask: RunLengthMask) -> NDArray[np.bool_]:
    """Return a mask on the coarse map, flat (cells,): the pixels at multiples of the stride."""
    stride = -(-max(mask.height, mask.width) // _GRID)
    rows, columns = -(-mask.height // stride), -(-mask.width // stride)
    cells = np.zeros((rows, columns), np.bool_)
    x_min, y_min = mask.box[:2]
    first_row, first_column = -(-y_min // stride), -(-x_min // stride)
    part = crop(mask)[first_row * stride - y_min :: stride]
    part = part[:, first_column * stride - x_min :: stride]
    height, width = part.shape
    cells[first_row : first_row + height, first_column : first_column + width] = part
    return cells.ravel()


def _largest_first(found: list[FoundMask]) -> list[FoundMask]:
    return sorted(found, key=lambda item: -item.mask.area)
