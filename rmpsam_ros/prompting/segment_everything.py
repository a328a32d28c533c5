"""Masks of everything in a frame: which prompts are asked, and which masks are kept.

MobileSAMv2 asks for the boxes of a detector instead of a grid of points. Here the object queries
of the panoptic network are the detector: they are there already, and know stuff as well as things.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

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
# A click waits for the end of a step, and so does who cancels: four boxes take MobileSAM 0.12 s on
# two cores that are free, half a second beside frames. Where they are quick, as on a GPU, more go.
_BOXES_A_STEP, _QUICK_BOXES_A_STEP = 4, 16
_QUICK = 0.05  # seconds
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


class Progress(NamedTuple):
    """Where the search for masks of everything is.

    Attributes:
        fresh: masks found since the last step, like none before.
        done, total: prompts that have been asked for, and all of them.
    """

    fresh: list[FoundMask]
    done: int
    total: int


Report: TypeAlias = Callable[[Progress], None]
Cancelled: TypeAlias = Callable[[], bool]


def everything_from_boxes(
    engine: PromptEngine,
    frame: KeptFrame,
    until: float = math.inf,
    report: Report | None = None,
    cancelled: Cancelled = lambda: False,
) -> Steps[Everything]:
    """Find a mask for every box around an object query that sees anything.

    Args:
        until: no further boxes are asked after this time, seconds of the monotonic clock; the
            surest come first.
        report: called after every step; None: nobody wants to know.
        cancelled: asked before every step whether to end with what there is.
    """
    boxes = frame.queries.boxes(frame.geometry, _MIN_OBJECTNESS)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= _MIN_SIDE).all(axis=1)]
    boxes = boxes[distinct_boxes(boxes, _MAX_BOX_IOU)][:_MAX_BOXES]
    found: list[FoundMask] = []
    news = _News()
    done, total, size = 0, len(boxes), _BOXES_A_STEP
    while done < total and not cancelled():
        started = time.monotonic()
        part = boxes[done : done + size]
        answers = [
            answer
            for answer in engine.in_boxes(frame, part)
            if answer.score >= _MIN_SCORE and answer.mask.area >= _MIN_AREA
        ]
        found += answers
        done += len(part)
        is_quick = time.monotonic() - started < _QUICK
        size = _QUICK_BOXES_A_STEP if is_quick else _BOXES_A_STEP
        if report is not None:
            report(Progress(news.among(answers), done, total))
        if done < total and time.monotonic() > until:
            break
        yield Step.PAUSE
    return Everything(_largest_first(distinct_masks(found, _MAX_MASK_IOU)), done == total)


def everything_from_grid(
    engine: PromptEngine,
    frame: KeptFrame,
    points_per_side: int,
    until: float = math.inf,
    report: Report | None = None,
    cancelled: Cancelled = lambda: False,
) -> Steps[Everything]:
    """Find the good masks of a square grid of points, as SAM does it; else as for boxes."""
    if not 1 <= points_per_side <= MAX_GRID:
        raise PromptError(f"points_per_side is {points_per_side}; expected 1 to {MAX_GRID}")
    if cancelled():
        return Everything([], False)
    steps, over = engine.on_grid(frame, points_per_side), None
    news = _News()
    done, total = 0, points_per_side**2
    try:
        while True:
            done, answers = steps.send(over)
            if report is not None:
                report(Progress(news.among(_large_enough(answers)), done, total))
            yield Step.PAUSE
            over = done < total and (cancelled() or time.monotonic() > until)
    except StopIteration as end:
        found = _large_enough(end.value)
    return Everything(_largest_first(distinct_masks(found, _MAX_MASK_IOU)), not over)


class _News:
    """Tells which masks of a step are like none of the steps before."""

    def __init__(self) -> None:
        self._told: list[NDArray[np.bool_]] = []

    def among(self, found: Sequence[FoundMask]) -> list[FoundMask]:
        """Return those of the masks that say something new, and remember them."""
        fresh = distinct_masks(found, _MAX_MASK_IOU)
        cells = [coarse_cells(one.mask) for one in fresh]
        if fresh and self._told:
            ious = mask_ious(np.stack(cells), np.stack(self._told)).max(axis=1)
            fresh = [one for one, iou in zip(fresh, ious, strict=True) if iou <= _MAX_MASK_IOU]
            cells = [one for one, iou in zip(cells, ious, strict=True) if iou <= _MAX_MASK_IOU]
        self._told += cells
        return fresh


def _large_enough(found: Sequence[FoundMask]) -> list[FoundMask]:
    return [one for one in found if one.mask.area >= _MIN_AREA]


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
