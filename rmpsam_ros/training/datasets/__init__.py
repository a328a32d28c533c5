"""Readers for the field's annotation formats; each yields ``Sample`` objects."""

from .base import ClipSet, DatasetConfig, SampleSet
from .coco import CocoInstances, CocoPanoptic
from .label_maps import LabelMaps, VocSegmentation
from .registry import open_dataset
from .yolo import YoloSegmentation
from .youtube_vis import YouTubeVis

__all__ = [
    "ClipSet",
    "CocoInstances",
    "CocoPanoptic",
    "DatasetConfig",
    "LabelMaps",
    "SampleSet",
    "VocSegmentation",
    "YoloSegmentation",
    "YouTubeVis",
    "open_dataset",
]
