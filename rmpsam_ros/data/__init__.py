"""Readers for the field's annotation formats; each yields ``Sample`` objects.

Examples:
    >>> from rmpsam_ros.data.taxonomy import IGNORED, ClassMapping
    >>> from rmpsam_ros.segmentation.labels import load_label_set
    >>> labels = load_label_set("coco_panoptic")
    >>> names = {"pedestrian": "person", "rider": "person"}
    >>> mapping = ClassMapping(labels, names, others="ignore")
    >>> labels.labels[mapping.class_of("rider")].name
    'person'
    >>> mapping.class_of("traffic cone") == IGNORED
    True
"""

from rmpsam_ros.data.base import ClipSet, DatasetConfig, SampleSet
from rmpsam_ros.data.coco import CocoInstances, CocoPanoptic
from rmpsam_ros.data.instance_maps import InstanceMaps
from rmpsam_ros.data.label_maps import LabelMaps, VocSegmentation
from rmpsam_ros.data.registry import open_dataset
from rmpsam_ros.data.yolo import YoloSegmentation
from rmpsam_ros.data.youtube_vis import YouTubeVis

__all__ = [
    "ClipSet",
    "CocoInstances",
    "CocoPanoptic",
    "DatasetConfig",
    "InstanceMaps",
    "LabelMaps",
    "SampleSet",
    "VocSegmentation",
    "YoloSegmentation",
    "YouTubeVis",
    "open_dataset",
]
