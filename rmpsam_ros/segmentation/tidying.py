"""What makes a fused result look right: no object twice, no crumbs, no specks and no holes.

None of it is in the official post-processing, which is what all settings at zero give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.overlap import distinct, iou
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.results import PanopticResult, Segment


@dataclass(frozen=True, slots=True)
class TidyConfig:
    """What is tidied in a result; zeros, the default, leave it as the fusion made it.

    Attributes:
        any_thing: the score of a thing is the probability that it is any thing at all, and its
            class the most probable one; otherwise the score is the probability of its class.
        duplicate_iou: of two queries of a kind (things or stuff) whose masks have an IoU above
            this, only the one with the higher score takes part in the fusion.
        small_first: things compete for pixels with this power of (score / area in tenths of the
            image), so that the smaller of two lies on top of the larger; 0: with their score.
        thing_bonus: things compete with 1 + this times as much.
        min_piece: connected parts of a thing that are smaller than this share of its largest part
            are no part of it.
        min_area: segments smaller than this share of the image are left out.
        max_speck: connected parts of stuff up to this share of the image go to what surrounds
            them.
        max_hole: so do patches without a segment up to this share.
    """

    any_thing: bool = False
    duplicate_iou: float = 0.0
    small_first: float = 0.0
    thing_bonus: float = 0.0
    min_piece: float = 0.0
    min_area: float = 0.0
    max_speck: float = 0.0
    max_hole: float = 0.0

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, got {value}")
        if not 0.0 <= self.thing_bonus <= MAX_BONUS:
            raise ValueError(f"thing_bonus must be from 0 to {MAX_BONUS}, got {self.thing_bonus}")

    @property
    def changes_segments(self) -> bool:
        """Whether `tidied` does anything."""
        return max(self.min_piece, self.min_area, self.max_speck, self.max_hole) > 0.0

    @property
    def compares_masks(self) -> bool:
        """Whether `competitors` looks at the masks."""
        return max(self.duplicate_iou, self.small_first) > 0.0


_SHARES = ("duplicate_iou", "small_first", "min_piece", "min_area", "max_speck", "max_hole")
_COMMON_AREA = 0.1  # share of the image at which a thing competes with stuff as score with score
_MIN_AREA = 1e-4  # share of the image that a mask without a cell is given

MAX_BONUS = 10.0


def joined_things(probabilities: NDArray[np.float32], label_set: LabelSet) -> NDArray[np.float32]:
    """Return class probabilities (N, C + 1) with those of all things at the best of them."""
    is_thing = np.array([*(label.is_thing for label in label_set.labels), False])
    things = np.where(is_thing, probabilities, np.float32(0.0))
    joined = np.where(is_thing, np.float32(0.0), probabilities)
    rows = np.arange(len(probabilities))
    joined[rows, things.argmax(axis=1)] += things.sum(axis=1)
    return joined


class Overlaps(NamedTuple):
    """What the masks of K queries have in common.

    Attributes:
        shared: (K, K) cells of the image, the area of each on the diagonal.
        finite: (K,) bool, whether all logits of a query are finite.
        cells: how many cells the image has.
    """

    shared: NDArray[np.int64]
    finite: NDArray[np.bool_]
    cells: int


def overlaps_of(
    mask_logits: NDArray[np.float32], queries: NDArray[np.int32], geometry: Letterbox
) -> Overlaps:
    """Compare the masks of some queries.

    Args:
        mask_logits: (N, h, w) over the padded input, C-contiguous.
        queries: (K,), those that count.
    """
    size = cells_of_image(geometry, (mask_logits.shape[1], mask_logits.shape[2]))
    return Overlaps(*_native.shared_cells(mask_logits, queries, size), size[0] * size[1])


def cells_of_image(geometry: Letterbox, mask_size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the part of a mask (h, w) that is not padding."""
    height, width = (
        max(1, round(cells * used / padded))
        for cells, used, padded in zip(
            mask_size, geometry.resized_size, geometry.padded_size, strict=True
        )
    )
    return height, width


def competitors(
    queries: NDArray[np.int32],
    scores: NDArray[np.float32],
    is_thing: NDArray[np.bool_],
    compare: Callable[[NDArray[np.int32]], Overlaps],
    config: TidyConfig,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return which of the queries, (K,) ascending, compete for pixels, and with what strength.

    Args:
        scores, is_thing: (N,), of all queries.
        compare: looks at the masks, if that is needed.
    """
    if not config.compares_masks:
        return queries, strengths(scores[queries], is_thing[queries], None, config)
    shared, finite, cells = compare(queries)
    shared, queries = shared[np.ix_(finite, finite)], queries[finite]
    kept = _distinct(scores[queries], is_thing[queries], shared, config.duplicate_iou)
    queries, areas = queries[kept], shared.diagonal()[kept] / cells
    return queries, strengths(scores[queries], is_thing[queries], areas, config)


def _distinct(
    scores: NDArray[np.float32],
    is_thing: NDArray[np.bool_],
    shared: NDArray[np.int64],
    max_iou: float,
) -> list[int]:
    """Return the places, ascending, of queries that repeat no better one of their kind.

    Args:
        scores, is_thing: (K,).
        shared: (K, K), as in `Overlaps`.
        max_iou: 0: none is a repetition.
    """
    if not max_iou:
        return list(range(len(scores)))
    areas = shared.diagonal()
    kept: list[int] = []
    for kind in (True, False):
        places = np.flatnonzero(is_thing == kind)
        places = places[np.argsort(-scores[places], kind="stable")]

        def overlaps(
            one: int, others: NDArray[np.intp], places: NDArray[np.intp] = places
        ) -> NDArray[np.float64]:
            first, rest = places[one], places[others]
            return iou(shared[first, rest], areas[first], areas[rest])

        kept += places[distinct(len(places), overlaps, max_iou)].tolist()
    return sorted(kept)


def strengths(
    scores: NDArray[np.float32],
    is_thing: NDArray[np.bool_],
    areas: NDArray[np.floating] | None,
    config: TidyConfig,
) -> NDArray[np.float32]:
    """Return with what queries compete for pixels: (K,), above 0.

    Args:
        scores, is_thing: (K,).
        areas: (K,), shares of the image; None: not known, and not needed.
    """
    strength = scores
    if config.small_first and areas is not None:
        relative = scores * _COMMON_AREA / np.maximum(areas, _MIN_AREA)
        strength = np.where(is_thing, relative**config.small_first, scores)
    bonus = np.where(is_thing, 1.0 + config.thing_bonus, 1.0)
    return (strength * bonus).astype(np.float32)


def tidied(result: PanopticResult, config: TidyConfig) -> PanopticResult:
    """Return a result without crumbs, specks and holes; segments are numbered anew, in order."""
    if not config.changes_segments or not result.segments:
        return result
    is_thing = np.zeros(len(result.segments) + 1, np.bool_)
    for segment in result.segments:
        is_thing[segment.id] = segment.is_thing
    pixels = result.size[0] * result.size[1]
    runs, areas, boxes = _native.tidy_runs(
        result.runs,
        result.size,
        is_thing,
        config.min_piece,
        int(np.ceil(config.min_area * pixels)),
        int(config.max_speck * pixels),
        int(config.max_hole * pixels),
    )
    changed = [
        replace(segment, area=area, box=tuple(box))
        for segment, area, box in zip(
            result.segments, areas[1:].tolist(), boxes[1:].tolist(), strict=True
        )
    ]
    whole = PanopticResult.from_runs(runs, result.size, tuple(changed))
    return only(whole, [segment for segment in changed if segment.area])


def only(result: PanopticResult, segments: Sequence[Segment]) -> PanopticResult:
    """Return a result with some of its segments, in the same order, numbered anew from 1."""
    if len(segments) == len(result.segments):
        return result
    table = np.zeros(len(result.segments) + 1, np.uint16)
    for place, segment in enumerate(segments, start=1):
        table[segment.id] = place
    numbered = (replace(segment, id=place) for place, segment in enumerate(segments, start=1))
    runs = _native.relabel_runs(result.runs, table)
    return PanopticResult.from_runs(runs, result.size, tuple(numbered))
