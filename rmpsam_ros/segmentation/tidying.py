"""What makes a fused result look right: no object twice, no crumbs, no specks and no holes.

None of it is in the official post-processing, which is what all settings at zero give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        thing_bonus: things compete for pixels with their score times 1 + this.
        min_piece: connected parts of a thing that are smaller than this share of its largest part
            are no part of it.
        min_area: segments smaller than this share of the image are left out.
        max_speck: connected parts of stuff up to this share of the image go to what surrounds
            them.
        max_hole: so do patches without a segment up to this share.
    """

    any_thing: bool = False
    duplicate_iou: float = 0.0
    thing_bonus: float = 0.0
    min_piece: float = 0.0
    min_area: float = 0.0
    max_speck: float = 0.0
    max_hole: float = 0.0

    def __post_init__(self) -> None:
        for name in ("duplicate_iou", "min_piece", "min_area", "max_speck", "max_hole"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, got {value}")
        if not 0.0 <= self.thing_bonus <= MAX_BONUS:
            raise ValueError(f"thing_bonus must be from 0 to {MAX_BONUS}, got {self.thing_bonus}")

    @property
    def changes_segments(self) -> bool:
        """Whether `tidied` does anything."""
        return max(self.min_piece, self.min_area, self.max_speck, self.max_hole) > 0.0

    def strengths(
        self, scores: NDArray[np.float32], is_thing: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return with what queries (N,) compete for pixels, from their scores (N,)."""
        return np.where(is_thing, np.float32(1.0 + self.thing_bonus), np.float32(1.0)) * scores


MAX_BONUS = 10.0


def joined_things(probabilities: NDArray[np.float32], label_set: LabelSet) -> NDArray[np.float32]:
    """Return class probabilities (N, C + 1) with those of all things at the best of them."""
    is_thing = np.array([*(label.is_thing for label in label_set.labels), False])
    things = np.where(is_thing, probabilities, np.float32(0.0))
    joined = np.where(is_thing, np.float32(0.0), probabilities)
    rows = np.arange(len(probabilities))
    joined[rows, things.argmax(axis=1)] += things.sum(axis=1)
    return joined


def shared_cells(
    mask_logits: NDArray[np.float32], queries: NDArray[np.int32], geometry: Letterbox
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count the cells of the image that every two masks have in common.

    Args:
        mask_logits: (N, h, w) over the padded input, C-contiguous.
        queries: (K,), those that count.

    Returns:
        shared (K, K), of which the diagonal is the area of each, and finite (K,).
    """
    size = cells_of_image(geometry, (mask_logits.shape[1], mask_logits.shape[2]))
    return _native.shared_cells(mask_logits, queries, size)


def cells_of_image(geometry: Letterbox, mask_size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the part of a mask (h, w) that is not padding."""
    height, width = (
        max(1, round(cells * used / padded))
        for cells, used, padded in zip(
            mask_size, geometry.resized_size, geometry.padded_size, strict=True
        )
    )
    return height, width


def distinct_queries(
    queries: NDArray[np.int32],
    scores: NDArray[np.float32],
    is_thing: NDArray[np.bool_],
    shared: NDArray[np.int64],
    config: TidyConfig,
) -> NDArray[np.int32]:
    """Return those of the queries, (K,) ascending, that repeat no better one of their kind.

    Args:
        scores, is_thing: (N,), of all queries.
        shared: (K, K), as `shared_cells` returns it.
    """
    areas = shared.diagonal()
    kept: list[int] = []
    for kind in (True, False):
        places = np.flatnonzero(is_thing[queries] == kind)
        places = places[np.argsort(-scores[queries[places]], kind="stable")]

        def overlaps(
            one: int, others: NDArray[np.intp], places: NDArray[np.intp] = places
        ) -> NDArray[np.float64]:
            first, rest = places[one], places[others]
            return iou(shared[first, rest], areas[first], areas[rest])

        kept += places[distinct(len(places), overlaps, config.duplicate_iou)].tolist()
    return queries[sorted(kept)]


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
