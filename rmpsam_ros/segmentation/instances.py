"""Instance segmentation from query logits (docs/reference/rmpsam.md, section 11, "Instance")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import check_logits, class_probabilities
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.run_length import Box, RunLengthMask, encode_mask


@dataclass(frozen=True, slots=True)
class Instance:
    """One (query, thing class) pair; instances overlap, and one query can appear with several.

    Attributes:
        score: class probability times mean mask probability inside the mask, 0 to 1.
        box: tight (x_min, y_min, x_max, y_max), right and bottom exclusive, zeros if the mask is
            empty.
        mask: at image size.
    """

    class_id: int
    score: float
    box: Box
    mask: RunLengthMask
    query: int


def extract_instances(
    class_logits: NDArray[np.float32],
    mask_logits: NDArray[np.float32],
    geometry: Letterbox,
    label_set: LabelSet,
    max_instances: int = 100,
) -> list[Instance]:
    """The most probable (query, class) pairs of one image as instances.

    Arrays as in `fuse_panoptic`. The `max_instances` most probable pairs are taken over all
    classes but "none", then stuff is dropped, so fewer may remain. Only masks of queries that
    remain are computed at image size. Sorted by score (descending), class and box. Queries with
    logits that are not finite are left out.

    Raises:
        ValueError: as `fuse_panoptic`.
    """
    check_logits(class_logits, mask_logits, label_set)
    if max_instances < 1:
        raise ValueError(f"max_instances must be at least 1, got {max_instances}")
    probabilities = class_probabilities(class_logits)[:, :-1]
    flat = np.nan_to_num(probabilities, nan=-1.0).ravel()
    count = min(max_instances, flat.size)
    best = np.argpartition(-flat, count - 1)[:count] if count else np.empty(0, np.int64)

    sizes = geometry.kernel_sizes(mask_logits.shape[1:])
    mask_logits = np.ascontiguousarray(mask_logits)
    masks: dict[int, tuple[RunLengthMask, float] | None] = {}
    instances = []
    for place in best.tolist():
        query, class_id = divmod(place, label_set.num_classes)
        if flat[place] < 0.0 or not label_set.labels[class_id].is_thing:
            continue
        if query not in masks:
            masks[query] = _measure(mask_logits, query, sizes)
        measured = masks[query]
        if measured is not None:
            mask, quality = measured
            score = float(flat[place]) * quality
            instances.append(Instance(class_id, score, mask.box, mask, query))
    return sorted(
        instances, key=lambda instance: (-instance.score, instance.class_id, instance.box)
    )


def _measure(
    mask_logits: NDArray[np.float32], query: int, sizes: NDArray[np.int32]
) -> tuple[RunLengthMask, float] | None:
    """Mask of one query and its mean probability inside; None if its logits are not finite."""
    foreground, background = np.array([query], np.int32), np.empty(0, np.int32)
    try:
        mask, area, probability = _native.binary_mask(mask_logits, foreground, background, sizes)
    except FloatingPointError:
        return None
    return encode_mask(mask), probability / (area + 1e-6)
