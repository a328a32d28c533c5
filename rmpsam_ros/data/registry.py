"""Data sets by the name of their format."""

from __future__ import annotations

from collections.abc import Callable

from rmpsam_ros.data.base import ClipSet, DatasetConfig, SampleSet
from rmpsam_ros.data.coco import CocoInstances, CocoPanoptic
from rmpsam_ros.data.instance_maps import InstanceMaps
from rmpsam_ros.data.label_maps import LabelMaps, VocSegmentation
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.data.yolo import YoloSegmentation
from rmpsam_ros.data.youtube_vis import YouTubeVis

FORMATS: dict[str, Callable[[DatasetConfig], SampleSet | ClipSet]] = {
    "coco_panoptic": CocoPanoptic,
    "coco_instances": CocoInstances,
    "youtube_vis": YouTubeVis,
    "label_maps": LabelMaps,
    "instance_maps": InstanceMaps,
    "voc_segmentation": VocSegmentation,
    "yolo_segmentation": YoloSegmentation,
}


def open_dataset(config: DatasetConfig) -> SampleSet | ClipSet:
    """Open a data set by its format; DataError if the format is unknown or files are missing."""
    if config.format not in FORMATS:
        known = ", ".join(FORMATS)
        raise DataError(f"data set {config.name!r}: unknown format {config.format!r}; use {known}")
    return FORMATS[config.format](config)
