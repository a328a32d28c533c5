"""COCO panoptic (PNG and JSON) and COCO instances (JSON)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.base import (
    DatasetConfig,
    check_size,
    read_image,
    read_json,
    read_pixels,
    read_split,
)
from rmpsam_ros.data.samples import DataError, Sample, stack_masks
from rmpsam_ros.data.taxonomy import IGNORED
from rmpsam_ros.data.yolo import fill_polygons
from rmpsam_ros.segmentation.coco_run_length import decode_coco


class CocoPanoptic:
    """COCO panoptic: ``annotations`` is the JSON file, its PNG files lie in a folder of its name.

    (``panoptic_val2017.json`` beside ``panoptic_val2017/``.) Crowds are ignored regions.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        content = read_json(config.annotations)
        self._names = category_names(content, config)
        self._entries = select_entries(
            content["annotations"], config, lambda entry: Path(entry["file_name"]).stem
        )
        files = {image["id"]: image["file_name"] for image in content.get("images", [])}
        self._files = [
            files.get(entry["image_id"], f"{Path(entry['file_name']).stem}.jpg")
            for entry in self._entries
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of image ``index``."""
        return Path(self._entries[index]["file_name"]).stem

    def load(self, index: int) -> Sample:
        """Return image ``index`` with its annotation."""
        entry = self._entries[index]
        image = read_image(self._config.images / self._files[index])
        size = image.shape[:2]
        path = self._config.annotations.with_suffix("") / entry["file_name"]
        ids = read_segment_ids(path)
        check_size(ids, size, path)
        ignore = ids == 0
        masks, classes = [], []
        for segment in entry["segments_info"]:
            region = ids == segment["id"]
            target = self._config.mapping.class_of(self._names[segment["category_id"]])
            if target == IGNORED or segment.get("iscrowd"):
                ignore |= region
            elif region.sum() >= self._config.minimum_area:
                masks.append(region)
                classes.append(target)
        return Sample(
            image,
            stack_masks(masks, size),
            np.array(classes, np.int64),
            ignore,
            self._config.mapping.annotated,
        )


class CocoInstances:
    """COCO instances: polygons or run lengths; crowds are ignored regions."""

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        content = read_json(config.annotations)
        self._names = category_names(content, config)
        self._images = select_entries(
            content["images"], config, lambda entry: Path(entry["file_name"]).stem
        )
        self._annotations: dict[int, list[Any]] = defaultdict(list)
        for annotation in content["annotations"]:
            self._annotations[annotation["image_id"]].append(annotation)

    def __len__(self) -> int:
        return len(self._images)

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of image ``index``."""
        return Path(self._images[index]["file_name"]).stem

    def load(self, index: int) -> Sample:
        """Return image ``index`` with its annotation."""
        entry = self._images[index]
        image = read_image(self._config.images / entry["file_name"])
        size = image.shape[:2]
        ignore = np.zeros(size, bool)
        masks, classes = [], []
        for annotation in self._annotations[entry["id"]]:
            mask = segmentation_mask(annotation["segmentation"], size)
            check_size(mask, size, self._config.annotations)
            target = self._config.mapping.class_of(self._names[annotation["category_id"]])
            if target == IGNORED or annotation.get("iscrowd"):
                ignore |= mask
            elif mask.sum() >= self._config.minimum_area:
                masks.append(mask)
                classes.append(target)
        return Sample(
            image,
            stack_masks(masks, size),
            np.array(classes, np.int64),
            ignore,
            self._config.mapping.annotated,
        )


def category_names(content: Any, config: DatasetConfig) -> dict[int, str]:
    """Return the category names by id of a COCO file, checked to be there."""
    for key in ("annotations", "categories"):
        if not isinstance(content, dict) or key not in content:
            raise DataError(f"'{config.annotations}' has no {key!r}; is it a COCO file?")
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    for name in names.values():
        config.mapping.class_of(name)
    return names


def select_entries(entries: list[Any], config: DatasetConfig, stem: Any) -> list[Any]:
    """Return the entries of the split, in its order, or all of them."""
    names = read_split(config)
    if names is None:
        return sorted(entries, key=stem)
    by_name = {stem(entry): entry for entry in entries}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DataError(
            f"data set {config.name!r}: {missing[0]!r} of the split is not in "
            f"'{config.annotations}'"
        )
    return [by_name[name] for name in names]


def segmentation_mask(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask [H, W] of a COCO ``segmentation``: polygons or run lengths."""
    if isinstance(segmentation, dict):
        try:
            return decode_coco(segmentation)
        except ValueError as error:
            raise DataError(f"a mask is damaged: {error}") from error
    polygons = [np.asarray(flat, np.float64).reshape(-1, 2) for flat in segmentation]
    return fill_polygons(polygons, size)


def read_segment_ids(path: Path) -> NDArray[np.int64]:
    """Return the ids [H, W] of a panoptic PNG: R + 256 G + 65536 B (0: no segment)."""
    image = read_pixels(path, cv2.IMREAD_COLOR, "annotations")
    blue, green, red = (image[:, :, i].astype(np.int64) for i in range(3))
    return red + 256 * green + 65536 * blue
