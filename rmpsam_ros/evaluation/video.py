"""Video: DAVIS J and F, YouTube-VIS AP and AR, identity switches."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rmpsam_ros.evaluation.recall import iou_matrix

_BOUNDARY_TOLERANCE = 0.008
_AP_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_AP_RECALLS = np.linspace(0, 1, 101)


def region_similarity(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return DAVIS J of one frame: IoU, 1 if both masks are empty."""
    union = np.logical_or(predicted, truth).sum()
    return float(np.logical_and(predicted, truth).sum() / union) if union else 1.0


def contour_accuracy(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return DAVIS F of one frame: F-measure of the contours, met within 0.8 % of the diagonal."""
    radius = math.ceil(_BOUNDARY_TOLERANCE * math.hypot(*truth.shape))
    steps = np.arange(-radius, radius + 1)
    disk = (steps[:, None] ** 2 + steps[None] ** 2 <= radius**2).astype(np.uint8)
    own, other = contour(predicted), contour(truth)
    if not own.any() or not other.any():
        return float(own.any() == other.any())
    near_other = cv2.dilate(other.astype(np.uint8), disk) > 0
    near_own = cv2.dilate(own.astype(np.uint8), disk) > 0
    precision = (own & near_other).sum() / own.sum()
    recall = (other & near_own).sum() / other.sum()
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels that differ from the right, lower or lower right neighbour (DAVIS)."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    east, south, corner = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask ^ east) | (mask ^ south) | (mask ^ corner)


@dataclass(frozen=True)
class Tracklet:
    """One object through a video: its masks [H, W] by frame, its class and (predicted) score."""

    class_id: int
    masks: Mapping[int, NDArray[np.bool_]]
    score: float = 1.0


def tube_iou(first: Tracklet, second: Tracklet) -> float:
    """Return the IoU of two objects over all frames together (YouTube-VIS)."""
    overlap = union = 0
    for frame in first.masks.keys() | second.masks.keys():
        one, two = first.masks.get(frame), second.masks.get(frame)
        if one is not None and two is not None:
            overlap += int((one & two).sum())
            union += int((one | two).sum())
        else:
            present = one if one is not None else two
            union += int(present.sum()) if present is not None else 0
    return overlap / union if union else 0.0


@dataclass(frozen=True, slots=True)
class VideoScore:
    """ap: mean over classes and IoU 0.5 to 0.95; ap50: at 0.5; ar: best recall. 0 to 1."""

    ap: float
    ap50: float
    ar: float


class VideoPrecision:
    """YouTube-VIS AP and AR over videos, by the rules of COCO."""

    def __init__(self, max_tracks: int = 10) -> None:
        """``max_tracks``: per video, the ones with the highest scores."""
        self._max_tracks = max_tracks
        self._scores: dict[int, list[float]] = defaultdict(list)
        self._hits: dict[int, list[NDArray[np.bool_]]] = defaultdict(list)
        self._totals: dict[int, int] = defaultdict(int)

    def add(self, predicted: Sequence[Tracklet], truth: Sequence[Tracklet]) -> None:
        """Count one video."""
        for track in truth:
            self._totals[track.class_id] += 1
        for class_id in {track.class_id for track in predicted}:
            tracks = [track for track in predicted if track.class_id == class_id]
            tracks.sort(key=lambda track: -track.score)
            objects = [track for track in truth if track.class_id == class_id]
            tracks = tracks[: self._max_tracks]
            ious = np.array([[tube_iou(p, t) for t in objects] for p in tracks])
            hits = _greedy_hits(ious.reshape(len(tracks), len(objects)))
            self._scores[class_id] += [track.score for track in tracks]
            self._hits[class_id] += list(hits)

    def score(self) -> VideoScore:
        """Return the means over classes that are annotated."""
        precisions, recalls = [], []
        for class_id, total in self._totals.items():
            precision, recall = self._class_curves(class_id, total)
            precisions.append(precision)
            recalls.append(recall)
        if not precisions:
            return VideoScore(math.nan, math.nan, math.nan)
        mean = np.mean(precisions, axis=0)
        return VideoScore(float(mean.mean()), float(mean[0]), float(np.mean(recalls)))

    def _class_curves(
        self, class_id: int, total: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return AP and final recall of one class at every threshold, [10] each."""
        order = np.argsort(-np.asarray(self._scores[class_id]), kind="mergesort")
        if not len(order):
            return np.zeros(10), np.zeros(10)
        hits = np.stack(self._hits[class_id])[order]
        found = hits.cumsum(axis=0)
        recall = found / total
        precision = found / np.arange(1, len(hits) + 1)[:, None]
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        ap = np.zeros(10)
        for column in range(10):
            place = np.searchsorted(recall[:, column], _AP_RECALLS, side="left")
            values = np.append(envelope[:, column], 0.0)
            ap[column] = values[place].mean()
        return ap, recall[-1]


def _greedy_hits(ious: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Match tracks [N], best first, to objects [M] at every threshold: [N, 10]."""
    hits = np.zeros((len(ious), 10), bool)
    for column, threshold in enumerate(_AP_THRESHOLDS):
        free = np.ones(ious.shape[1], bool)
        for row, values in enumerate(ious):
            candidates = np.where(free, values, -1)
            if candidates.size and candidates.max() >= min(threshold, 1 - 1e-10):
                # Of equal candidates COCO takes the last.
                best = len(candidates) - 1 - int(candidates[::-1].argmax())
                free[best], hits[row, column] = False, True
    return hits


class IdentitySwitches:
    """Counts how often an object's track id changes and how often its track breaks (CLEAR MOT).

    Attributes:
        switches: times that an object is found under another track id than before.
        fragmentations: times that an object is found again after frames without it, whatever the
            id. Every frame counts, also one in which there is nothing to be found.
        matches: objects found, over all frames.
        objects: annotated objects, over all frames.
    """

    def __init__(self, iou: float = 0.5) -> None:
        self._iou = iou
        self._last: dict[int, int] = {}
        self._previous: dict[int, int] = {}
        self.switches = self.fragmentations = self.matches = self.objects = 0

    def add(
        self,
        track_ids: Sequence[int],
        tracks: NDArray[np.bool_],
        object_ids: Sequence[int],
        objects: NDArray[np.bool_],
    ) -> None:
        """Count one frame: masks [N, H, W] with track ids, and [M, H, W] with object ids.

        A pair of the frame before is kept while it overlaps enough; the rest is assigned by
        overlap.
        """
        ious = iou_matrix(objects, tracks) if len(objects) and len(tracks) else np.zeros((0, 0))
        current: dict[int, int] = {}
        if ious.size:
            gain = np.where(ious >= self._iou, ious, 0.0)
            for row, object_id in enumerate(object_ids):
                for column, track_id in enumerate(track_ids):
                    if gain[row, column] and self._previous.get(object_id) == track_id:
                        gain[row, column] += 1000.0
            for row, column in zip(*linear_sum_assignment(-gain), strict=True):
                if gain[row, column] > 0:
                    current[object_ids[row]] = track_ids[column]
        for object_id, track_id in current.items():
            self.switches += self._last.get(object_id, track_id) != track_id
            self.fragmentations += object_id in self._last and object_id not in self._previous
            self._last[object_id] = track_id
        self._previous = current
        self.matches += len(current)
        self.objects += len(object_ids)
