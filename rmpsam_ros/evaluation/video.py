"""Video: DAVIS J and F, identity switches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rmpsam_ros.segmentation.overlap import mask_iou, mask_ious

_BOUNDARY_TOLERANCE = 0.008


def region_similarity(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return DAVIS J of one frame: IoU of masks (H, W), but 1 if both are empty."""
    return mask_iou(predicted, truth) if predicted.any() or truth.any() else 1.0


def contour_accuracy(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return DAVIS F of one frame: F-measure of the contours of masks (H, W).

    Contours match within 0.8 % of the diagonal.
    """
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
    """Return the contour (H, W) of a mask (H, W), as DAVIS defines it.

    Its pixels differ from the right, lower or lower right neighbour.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    east, south, corner = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask ^ east) | (mask ^ south) | (mask ^ corner)


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
        ious = mask_ious(objects, tracks) if len(objects) and len(tracks) else np.zeros((0, 0))
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
