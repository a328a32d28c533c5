"""Panoptic fusion: from query logits to an id map and its segments.

Source: docs/reference/rmpsam.md, section 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.results import PanopticResult, Segment
from rmpsam_ros.segmentation.run_length import Box
from rmpsam_ros.segmentation.tidying import (
    TidyConfig,
    competitors,
    joined_things,
    only,
    overlaps_of,
    tidied,
)

MAX_QUERIES = 32767  # two pixel codes for each must fit into 16 bits


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """Thresholds of the panoptic fusion; the defaults are the official ones.

    Attributes:
        score_threshold: a query takes part if its best class probability is above this (0 to 1).
        overlap_threshold: it becomes a segment if the pixels it won are at least this share of the
            pixels it claims (0 to 1).
        filter_low_score: a segment keeps only pixels with mask probability >= 0.5.
        class_ids: report only these classes; every class still takes part in the fusion, so that
            what is reported does not depend on what is not. None reports all.
        tidy: what is done beside the official rules; nothing by default.
    """

    score_threshold: float = 0.8
    overlap_threshold: float = 0.8
    filter_low_score: bool = True
    class_ids: frozenset[int] | None = None
    tidy: TidyConfig = field(default_factory=TidyConfig)

    def __post_init__(self) -> None:
        for name in ("score_threshold", "overlap_threshold"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, got {value}")


def class_probabilities(class_logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax of class logits (N, C + 1); class C is "none".

    Rows with a logit that is NaN or plus infinity become NaN, which passes no threshold.
    """
    with np.errstate(invalid="ignore"):
        exponents = np.exp(class_logits - class_logits.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)


def check_logits(
    class_logits: NDArray[np.float32], mask_logits: NDArray[np.float32], label_set: LabelSet
) -> None:
    """Raise ValueError unless the arrays, (N, C + 1) and (N, h, w) float32, and labels agree."""
    for name, array in (("class_logits", class_logits), ("mask_logits", mask_logits)):
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            got = getattr(array, "dtype", type(array))
            raise ValueError(f"{name} must be a float32 array, got {got}")
    if class_logits.ndim != 2 or class_logits.shape[1] != label_set.num_classes + 1:
        raise ValueError(
            f"class_logits must have shape (queries, {label_set.num_classes + 1}) for label set "
            f"{label_set.name!r} and its 'none' column, got {class_logits.shape}"
        )
    if mask_logits.ndim != 3 or 0 in mask_logits.shape[1:]:
        raise ValueError(f"mask_logits must have shape (queries, h, w), got {mask_logits.shape}")
    if len(mask_logits) != len(class_logits) or len(mask_logits) > MAX_QUERIES:
        raise ValueError(
            f"class_logits and mask_logits must be of the same queries (at most {MAX_QUERIES}), "
            f"got {len(class_logits)} and {len(mask_logits)}"
        )


def fuse_panoptic(
    class_logits: NDArray[np.float32],
    mask_logits: NDArray[np.float32],
    geometry: Letterbox,
    label_set: LabelSet,
    config: FusionConfig = FusionConfig(),
) -> PanopticResult:
    """Merge the queries of one image into a panoptic segmentation.

    A query whose logits are not finite (class: NaN or plus infinity; mask: any, inside the image)
    takes no part.

    Args:
        class_logits: (N, C + 1) float32, the last column is "none".
        mask_logits: (N, h, w) float32 over the padded input, at any resolution; they are resized
            to geometry.padded_size, cropped to resized_size and resized to image_size, all
            bilinear, but only computed where two queries compete or a mask has its border.
        geometry: how the image was fitted into the network input.
        label_set: names of the C classes.
        config: thresholds.

    Returns:
        The segmentation at geometry.image_size; segments are numbered from 1 in query order,
        regions of one stuff class are one segment.

    Raises:
        ValueError: arrays of another dtype or shape.

    Source: docs/reference/rmpsam.md, section 11.
    """
    check_logits(class_logits, mask_logits, label_set)
    class_ids, scores, queries = candidates(class_logits, label_set, config)
    sizes = geometry.kernel_sizes(mask_logits.shape[1:])
    mask_logits = np.ascontiguousarray(mask_logits)
    queries, strength = competitors(
        queries,
        scores,
        things_among(class_ids, label_set),
        lambda chosen: overlaps_of(mask_logits, chosen, geometry),
        config.tidy,
    )
    while queries.size:
        codes, won, boxes, claimed, finite = _native.fuse(mask_logits, queries, strength, sizes)
        if finite.all():
            break
        queries, strength = queries[finite], strength[finite]
    if not queries.size:
        return PanopticResult(np.zeros(geometry.image_size, np.uint16), ())

    kept = 1 if config.filter_low_score else 2  # of a query's codes: sure pixels, unsure pixels
    builder = SegmentBuilder(label_set)
    table = np.zeros((len(queries), 2), np.uint16)  # pixel code -> segment id
    rows = zip(queries.tolist(), won.tolist(), boxes.tolist(), claimed.tolist(), strict=True)
    for k, (query, areas, code_boxes, claim) in enumerate(rows):
        class_id = int(class_ids[query])
        if sum(areas) == 0 or claim == 0 or sum(areas) / claim < config.overlap_threshold:
            continue
        area = sum(areas[:kept])
        if area == 0:
            continue
        box = _union([code_boxes[code] for code in range(kept) if areas[code]])
        table[k, :kept] = builder.add(class_id, float(scores[query]), area, box, query)
    runs = _native.relabel_runs(codes, table.ravel())
    result = PanopticResult.from_runs(runs, geometry.image_size, tuple(builder.segments))
    return finished(result, config)


def finished(result: PanopticResult, config: FusionConfig) -> PanopticResult:
    """Return a result tidied, and then with the classes that are to be reported."""
    result = tidied(result, config.tidy)
    if config.class_ids is None:
        return result
    return only(result, [s for s in result.segments if s.class_id in config.class_ids])


def candidates(
    class_logits: NDArray[np.float32], label_set: LabelSet, config: FusionConfig
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.int32]]:
    """Return class and score of all queries, both (N,), and which take part in the fusion, (K,).

    Args:
        class_logits: (N, C + 1).
    """
    probabilities = class_probabilities(class_logits)
    if config.tidy.any_thing:
        probabilities = joined_things(probabilities, label_set)
        probabilities = probabilities[:, :-1]  # the threshold alone says what is nothing
    class_ids, scores = probabilities.argmax(axis=1), probabilities.max(axis=1)
    takes_part = (class_ids < label_set.num_classes) & (scores > config.score_threshold)
    return class_ids, scores, np.flatnonzero(takes_part).astype(np.int32)


def things_among(class_ids: NDArray[np.intp], label_set: LabelSet) -> NDArray[np.bool_]:
    """Tell which of the classes (N,) are things; "none" is not."""
    is_thing = [label.is_thing for label in label_set.labels]
    return np.array([*is_thing, False])[class_ids]


class SegmentBuilder:
    """Numbers segments in the order they come, and merges regions of one stuff class."""

    def __init__(self, label_set: LabelSet) -> None:
        self.segments: list[Segment] = []
        self._label_set = label_set
        self._stuff: dict[int, tuple[int, int]] = {}  # class id -> place, largest region's area

    def add(self, class_id: int, score: float, area: int, box: Box, query: int) -> int:
        """Add one surviving query and return the id of its segment."""
        is_thing = self._label_set.labels[class_id].is_thing
        if is_thing or class_id not in self._stuff:
            segment_id = len(self.segments) + 1
            self.segments.append(Segment(segment_id, class_id, is_thing, score, area, box, query))
            if not is_thing:
                self._stuff[class_id] = (segment_id - 1, area)
            return segment_id
        place, largest = self._stuff[class_id]
        merged = replace(
            self.segments[place],
            area=self.segments[place].area + area,
            box=_union([self.segments[place].box, box]),
        )
        if area > largest:
            merged = replace(merged, score=score, query=query)
            self._stuff[class_id] = (place, area)
        self.segments[place] = merged
        return merged.id


def _union(boxes: Sequence[Sequence[int]]) -> Box:
    """Smallest box around boxes."""
    x_min, y_min, x_max, y_max = zip(*boxes, strict=True)
    return min(x_min), min(y_min), max(x_max), max(y_max)


def semantic_map(
    result: PanopticResult,
    label_set: LabelSet,
    out: NDArray[np.uint8 | np.uint16] | None = None,
) -> NDArray[np.uint8 | np.uint16]:
    """Class of every pixel, (H, W) in label_set.semantic_dtype; label_set.unlabelled for none.

    Args:
        out: as in `PanopticResult.painted`.
    """
    table = np.full(len(result.segments) + 1, label_set.unlabelled, label_set.semantic_dtype)
    for segment in result.segments:
        table[segment.id] = segment.class_id
    return result.painted(table, out)


def instance_map(
    result: PanopticResult,
    ids: Mapping[int, int] | None = None,
    out: NDArray[np.uint16] | None = None,
) -> NDArray[np.uint16]:
    """Instance of every pixel, (H, W) uint16: 0 for stuff and for no segment.

    Args:
        result: the segmentation.
        ids: value (1 to 65535) by segment id, for the things to be shown; None shows every thing
            under its segment id.
        out: as in `PanopticResult.painted`.

    Raises:
        ValueError: a value that does not fit.
    """
    if ids is None:
        ids = {segment.id: segment.id for segment in result.segments}
    table = np.zeros(len(result.segments) + 1, np.uint16)
    for segment in result.segments:
        if not segment.is_thing or segment.id not in ids:
            continue
        if not 1 <= ids[segment.id] <= 65535:
            raise ValueError(f"instance values must be from 1 to 65535, got {ids[segment.id]}")
        table[segment.id] = ids[segment.id]
    return result.painted(table, out)


def confidence_map(
    result: PanopticResult, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Score of the segment of every pixel, (H, W) uint8: 255 is 1.0, 0 where there is none.

    Args:
        out: as in `PanopticResult.painted`.
    """
    table = np.zeros(len(result.segments) + 1, np.uint8)
    for segment in result.segments:
        table[segment.id] = round(255.0 * min(max(segment.score, 0.0), 1.0))
    return result.painted(table, out)
