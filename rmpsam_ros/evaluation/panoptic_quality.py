"""Panoptic quality PQ = SQ x RQ (Kirillov et al. 2019), exactly as COCO counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VOID = 0
"""Segment id of pixels without a segment."""


@dataclass(frozen=True, slots=True)
class QualityScore:
    """pq, sq and rq from 0 to 100, averaged over ``num_classes`` classes that occur."""

    pq: float
    sq: float
    rq: float
    num_classes: int


class PanopticQuality:
    """Counts matches over images; ask for scores at any time.

    A predicted and an annotated segment of one class match when their IoU is above 0.5, the void
    of the annotation left out of the union. Predictions that lie mostly on void or on crowds of
    their class are not counted as wrong.
    """

    def __init__(self, is_thing: Sequence[bool]) -> None:
        self._is_thing = np.asarray(is_thing, bool)
        count = len(self._is_thing)
        self._iou_sum = np.zeros(count)
        self._true_positives = np.zeros(count, np.int64)
        self._false_positives = np.zeros(count, np.int64)
        self._false_negatives = np.zeros(count, np.int64)

    def add(
        self,
        predicted: NDArray[np.integer],
        predicted_classes: Mapping[int, int],
        truth: NDArray[np.integer],
        true_classes: Mapping[int, int],
        crowds: frozenset[int] = frozenset(),
    ) -> None:
        """Count one image.

        Args:
            predicted, truth: segment ids [H, W], 0 for none. The mappings give the class index of
                every id.
            crowds: annotated ids that stand for groups.

        Raises:
            ValueError: maps of different size or ids without a class.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"prediction is {predicted.shape}, annotation is {truth.shape}")
        predicted_ids, predicted_areas = _areas(predicted, predicted_classes, "prediction")
        true_ids, true_areas = _areas(truth, true_classes, "annotation")
        overlap = _overlaps(truth, predicted)
        matched_true: set[int] = set()
        matched_predicted: set[int] = set()
        for (true_id, predicted_id), area in overlap.items():
            if true_id == VOID or predicted_id == VOID or true_id in crowds:
                continue
            class_index = true_classes[true_id]
            if class_index != predicted_classes[predicted_id]:
                continue
            union = predicted_areas[predicted_id] + true_areas[true_id] - area
            union -= overlap.get((VOID, predicted_id), 0)
            iou = area / union
            if iou > 0.5:
                self._true_positives[class_index] += 1
                self._iou_sum[class_index] += iou
                matched_true.add(true_id)
                matched_predicted.add(predicted_id)
        crowd_of = {true_classes[i]: i for i in true_ids if i in crowds}
        for true_id in true_ids:
            if true_id not in matched_true and true_id not in crowds:
                self._false_negatives[true_classes[true_id]] += 1
        for predicted_id in predicted_ids:
            if predicted_id in matched_predicted:
                continue
            class_index = predicted_classes[predicted_id]
            excused = overlap.get((VOID, predicted_id), 0)
            if class_index in crowd_of:
                excused += overlap.get((crowd_of[class_index], predicted_id), 0)
            if excused / predicted_areas[predicted_id] <= 0.5:
                self._false_positives[class_index] += 1

    def score(self, things: bool | None = None) -> QualityScore:
        """Return the mean over things, over stuff, or (None) over all classes that occur."""
        chosen = self._counted()
        if things is not None:
            chosen = chosen & (self._is_thing == things)
        if not chosen.any():
            return QualityScore(float("nan"), float("nan"), float("nan"), 0)
        pq, sq, rq = (100 * values[chosen].mean() for values in self._per_class())
        return QualityScore(float(pq), float(sq), float(rq), int(chosen.sum()))

    def per_class(self) -> dict[int, QualityScore]:
        """Return the score of every class that occurs, by class index."""
        pq, sq, rq = self._per_class()
        return {
            int(index): QualityScore(100 * pq[index], 100 * sq[index], 100 * rq[index], 1)
            for index in np.flatnonzero(self._counted())
        }

    def _counted(self) -> NDArray[np.bool_]:
        return (self._true_positives + self._false_positives + self._false_negatives) > 0

    def _per_class(self) -> tuple[NDArray[np.float64], ...]:
        wrong = 0.5 * (self._false_positives + self._false_negatives)
        total = np.maximum(self._true_positives + wrong, 0.5)
        sq = self._iou_sum / np.maximum(self._true_positives, 1)
        return self._iou_sum / total, sq, self._true_positives / total


def _areas(
    ids: NDArray[np.integer], classes: Mapping[int, int], what: str
) -> tuple[list[int], dict[int, int]]:
    """Return the ids of a map, void left out, and their areas."""
    values, counts = np.unique(ids, return_counts=True)
    areas = {int(v): int(c) for v, c in zip(values, counts, strict=True) if v != VOID}
    unknown = [value for value in areas if value not in classes]
    if unknown:
        raise ValueError(f"segment {unknown[0]} of the {what} has no class")
    return list(areas), areas


def _overlaps(
    truth: NDArray[np.integer], predicted: NDArray[np.integer]
) -> dict[tuple[int, int], int]:
    """Return the number of pixels of every pair (annotated id, predicted id) that meets."""
    base = int(predicted.max()) + 1
    pairs, counts = np.unique(
        truth.astype(np.int64) * base + predicted.astype(np.int64), return_counts=True
    )
    return {
        (int(pair // base), int(pair % base)): int(count)
        for pair, count in zip(pairs, counts, strict=True)
    }
