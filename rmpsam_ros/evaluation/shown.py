"""Figures of the overlay as a viewer sees it: objects shown, and with their right names."""

from __future__ import annotations

import math

import numpy as np

from rmpsam_ros.data.samples import Sample, stack_masks
from rmpsam_ros.segmentation.overlap import mask_ious
from rmpsam_ros.segmentation.results import PanopticResult


class ShownObjects:
    """Counts annotated objects, larger than a share of the image, among the segments shown.

    An object is shown if a segment of a thing covers it at the IoU, and named if that segment has
    its class. A segment that covers no annotated object of any size is empty, unless most of it is
    unknown.
    """

    def __init__(self, iou: float = 0.5, minimum_share: float = 0.01) -> None:
        self._iou, self._share = iou, minimum_share
        self._objects = self._shown = self._named = self._segments = self._empty = 0

    def add(self, result: PanopticResult, sample: Sample) -> None:
        """Count one image."""
        things = [segment for segment in result.segments if segment.is_thing]
        ids = result.id_map
        masks = stack_masks([ids == thing.id for thing in things], ids.shape)
        unknown = np.array([sample.ignore[mask].mean() > 0.5 for mask in masks], bool)
        classes = np.array([thing.class_id for thing in things], np.int64)
        covers = mask_ious(masks, sample.masks) >= self._iou
        self._segments += int((~unknown).sum())
        self._empty += int((~unknown & ~covers.any(axis=1)).sum())
        large = sample.masks.mean(axis=(1, 2)) > self._share
        for index in np.flatnonzero(large):
            own = np.flatnonzero(covers[:, index])
            self._objects += 1
            self._shown += len(own) > 0
            self._named += bool((classes[own] == sample.classes[index]).any())

    def figures(self) -> dict[str, float]:
        """Return the shares of objects shown and named, and of segments that are empty."""
        return {
            "shown": _share(self._shown, self._objects),
            "named": _share(self._named, self._objects),
            "objects": self._objects,
            "empty_segments": _share(self._empty, self._segments),
            "segments": self._segments,
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
