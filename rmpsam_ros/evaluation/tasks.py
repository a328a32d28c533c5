"""The figures of one data set: panoptic, semantic, recall, interactive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.samples import UNNAMED, Sample
from rmpsam_ros.evaluation.interactive import (
    NOC_THRESHOLDS,
    InteractiveScore,
    click_position,
    tight_box,
)
from rmpsam_ros.evaluation.panoptic_quality import PanopticQuality
from rmpsam_ros.evaluation.predictors import Promptable, Segmenter
from rmpsam_ros.evaluation.recall import MaskRecall
from rmpsam_ros.evaluation.semantic import MeanIou
from rmpsam_ros.evaluation.shown import ShownObjects
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.overlap import mask_iou
from rmpsam_ros.segmentation.results import PanopticResult

_IGNORE = -1
TASKS = ("panoptic", "semantic", "recall", "interactive")


def evaluate_images(
    segmenter: Segmenter, samples: Iterable[Sample], tasks: list[str]
) -> dict[str, Any]:
    """Return the figures of a segmenter over the images of a data set.

    Args:
        tasks: of ``TASKS``.

    Raises:
        ValueError: an unknown name.
    """
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown:
        raise ValueError(f"unknown task {unknown[0]!r}; use {', '.join(TASKS)}")
    labels = segmenter.label_set
    things = [label.is_thing for label in labels.labels]
    # One class more, for pixels of partly annotated images where only the annotated classes
    # are known to be absent.
    quality = PanopticQuality([*things, False])
    semantic, recall, prompts = MeanIou(len(things)), MaskRecall(), InteractiveScores()
    shown = ShownObjects()
    for sample in samples:
        segmenter.show(sample.image)
        if "panoptic" in tasks:
            add_panoptic(quality, segmenter.panoptic(), sample, labels)
        if "semantic" in tasks:
            semantic.add(segmenter.semantic(sample.annotated), class_map(sample), _IGNORE)
        if "recall" in tasks:
            recall.add(segmenter.object_masks(), sample.masks)
            shown.add(segmenter.panoptic(), sample)
        if "interactive" in tasks:
            prompts.add(segmenter, sample.masks)
    figures: dict[str, Any] = {}
    if "panoptic" in tasks:
        figures["panoptic"] = panoptic_figures(quality, labels)
    if "semantic" in tasks:
        names = [label.name for label in labels.labels]
        per_class = {names[index]: iou for index, iou in semantic.per_class().items()}
        figures["semantic"] = {"mean_iou": semantic.mean(), "per_class": per_class}
    if "recall" in tasks:
        figures["recall"] = {"recall_50": recall.recall(), **shown.figures()}
    if "interactive" in tasks:
        figures["interactive"] = prompts.figures()
    return figures


def evaluate_prompts(model: Promptable, samples: Iterable[Sample]) -> dict[str, Any]:
    """Return the interactive figures of what answers prompts and does nothing else."""
    scores = InteractiveScores()
    for sample in samples:
        model.show(sample.image)
        scores.add(model, sample.masks)
    return {"interactive": scores.figures()}


MIN_PROMPTED_AREA = 400
"""Pixels that an object must exceed to be prompted: below, a few border pixels decide."""


class InteractiveScores:
    """One click and one box for every annotated mask of more than ``MIN_PROMPTED_AREA`` pixels."""

    def __init__(self) -> None:
        self._click, self._box = InteractiveScore(), InteractiveScore()

    def add(self, model: Promptable, masks: NDArray[np.bool_]) -> None:
        """Count the masks [G, H, W] of the image that the model was shown."""
        masks = masks[masks.sum(axis=(1, 2)) > MIN_PROMPTED_AREA]
        if not len(masks):
            return
        clicks = np.array([click_position(mask) for mask in masks], np.float64)
        boxes = np.array([tight_box(mask) for mask in masks], np.float64)
        for score, answers in (
            (self._click, model.click(clicks)),
            (self._box, model.box(boxes)),
        ):
            for answer, mask in zip(answers, masks, strict=True):
                score.add(mask_iou(answer, mask))

    def figures(self) -> dict[str, Any]:
        """Return mean IoU by clicks and by boxes, and the clicks needed (1 or 20)."""
        return {
            "click_miou": self._click.mean_iou(),
            "box_miou": self._box.mean_iou(),
            "click_noc": {str(t): self._click.clicks(t) for t in NOC_THRESHOLDS},
            "segments": len(self._click),
        }


def add_panoptic(
    quality: PanopticQuality, result: PanopticResult, sample: Sample, labels: LabelSet
) -> None:
    """Count one image; only classes that its data set annotates completely take part."""
    truth, true_classes = truth_map(sample)
    classes = {segment.id: segment.class_id for segment in result.segments}
    left_out = [key for key, index in classes.items() if not sample.annotated[index]]
    predicted = result.id_map.astype(np.int64)
    predicted[np.isin(predicted, left_out)] = 0
    quality.add(predicted, classes, truth, {**true_classes, _OTHER: labels.num_classes})


_OTHER = 1 << 20


def truth_map(sample: Sample) -> tuple[NDArray[np.int64], dict[int, int]]:
    """Return segment ids [H, W] and their classes; overlapping masks: the smaller one is on top.

    Void (0): unknown pixels, and objects whose class is not annotated completely. All other
    pixels without an object belong to one segment of no class.
    """
    ids = np.where(sample.ignore, 0, _OTHER).astype(np.int64)
    classes = {}
    for index in np.argsort(-sample.masks.sum(axis=(1, 2)), kind="stable"):
        class_index = int(sample.classes[index])
        counted = class_index != UNNAMED and sample.annotated[class_index]
        ids[sample.masks[index] & ~sample.ignore] = index + 1 if counted else 0
        if counted:
            classes[int(index) + 1] = class_index
    return ids, classes


def class_map(sample: Sample) -> NDArray[np.int64]:
    """Return the annotated class of every pixel [H, W], -1 where there is none."""
    classes = np.full(sample.ignore.shape, _IGNORE, np.int64)
    for index in np.argsort(-sample.masks.sum(axis=(1, 2)), kind="stable"):
        if sample.classes[index] != UNNAMED:
            classes[sample.masks[index]] = sample.classes[index]
    classes[sample.ignore] = _IGNORE
    return classes


def panoptic_figures(quality: PanopticQuality, labels: LabelSet) -> dict[str, Any]:
    """Return PQ, SQ and RQ of all classes, of things and of stuff, and PQ by class name."""
    per_class = {
        labels.labels[index].name: score
        for index, score in quality.per_class().items()
        if index < labels.num_classes
    }
    things = {label.name for label in labels.labels if label.is_thing}

    def mean(names: Iterable[str]) -> dict[str, float]:
        scores = [per_class[name] for name in names if name in per_class]
        if not scores:
            return {}
        return {
            key: float(np.mean([getattr(score, key) for score in scores]))
            for key in ("pq", "sq", "rq")
        }

    return {
        "all": mean(per_class),
        "things": mean(things),
        "stuff": mean(name for name in per_class if name not in things),
        "per_class": {name: score.pq for name, score in per_class.items()},
    }


def load_samples(data: Any) -> Iterator[Sample]:
    """Yield all images of a data set in order."""
    for index in range(len(data)):
        yield data.load(index)
