"""Semantic label maps (instances by connected components) and Pascal VOC segmentation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.base import DatasetConfig, list_images, read_image, read_label_map
from rmpsam_ros.data.samples import DataError, Sample, stack_masks
from rmpsam_ros.data.taxonomy import IGNORED


class LabelMaps:
    """Images with one class id per pixel.

    Every connected component of a thing class becomes an instance: touching things are one.
    ``annotations`` is a folder of one-channel PNG files with the names of the images.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self._images = list_images(config)

    def __len__(self) -> int:
        return len(self._images)

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of image ``index``."""
        return self._images[index].stem

    def load(self, index: int) -> Sample:
        """Return image ``index`` with its annotation."""
        image = read_image(self._images[index])
        path = self._config.annotations / f"{self.name_of(index)}.png"
        labels = read_label_map(path, image.shape[:2])
        mapping = self._config.mapping
        ignore = np.zeros(labels.shape, bool)
        merged: dict[int, NDArray[np.bool_]] = {}
        for value in np.unique(labels):
            target = mapping.class_of(class_name(self._config, int(value), path))
            region = labels == value
            if target == IGNORED:
                ignore |= region
            elif target in merged:
                merged[target] |= region
            else:
                merged[target] = region
        masks: list[NDArray[np.bool_]] = []
        classes: list[int] = []
        for target, region in merged.items():
            parts = _components(region) if mapping.is_thing(target) else [region]
            for part in parts:
                if part.sum() >= self._config.minimum_area:
                    masks.append(part)
                    classes.append(target)
                else:
                    ignore |= part
        return Sample(
            image,
            stack_masks(masks, image.shape[:2]),
            np.array(classes, np.int64),
            ignore,
            mapping.annotated,
        )


class VocSegmentation:
    """Pascal VOC: ``SegmentationObject`` and ``SegmentationClass`` under ``annotations``."""

    VOID = 255

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self._images = list_images(config)

    def __len__(self) -> int:
        return len(self._images)

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of image ``index``."""
        return self._images[index].stem

    def load(self, index: int) -> Sample:
        """Return image ``index`` with its annotation."""
        image = read_image(self._images[index])
        size = image.shape[:2]
        name = f"{self._images[index].stem}.png"
        object_path = self._config.annotations / "SegmentationObject" / name
        class_path = self._config.annotations / "SegmentationClass" / name
        objects = read_palette_map(object_path, size)
        labels = read_palette_map(class_path, size)
        ignore = (objects == self.VOID) | (labels == self.VOID)
        masks, classes = [], []
        for value in np.unique(objects[(objects > 0) & ~ignore]):
            region = (objects == value) & ~ignore
            source = int(np.bincount(labels[region]).argmax())
            target = self._config.mapping.class_of(class_name(self._config, source, class_path))
            if target == IGNORED:
                ignore |= region
            else:
                masks.append(region)
                classes.append(target)
        return Sample(
            image,
            stack_masks(masks, size),
            np.array(classes, np.int64),
            ignore,
            self._config.mapping.annotated,
        )


def class_name(config: DatasetConfig, value: int, path: Path) -> str:
    """Return the source name of a class id; DataError for an id without one."""
    if value not in config.class_names:
        raise DataError(
            f"'{path}' holds class id {value}, which 'class_names' of data set "
            f"{config.name!r} does not list"
        )
    return config.class_names[value]


def read_palette_map(path: Path, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the indices of a PNG [H, W] that is either grey or coloured with VOC's palette.

    OpenCV expands palettes to colours, so the indices are looked up from the colours.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim == 2:
        return read_label_map(path, size)
    blue, green, red = (image[:, :, i].astype(np.int64) for i in range(3))
    if image.shape[:2] != size:
        raise DataError(
            f"'{path}' is {image.shape[1]}x{image.shape[0]} but its image is {size[1]}x{size[0]}"
        )
    colors = red << 16 | green << 8 | blue
    order = np.argsort(_VOC_COLORS)
    place = np.searchsorted(_VOC_COLORS, colors, sorter=order)
    indices = order[np.minimum(place, 255)]
    if not np.array_equal(_VOC_COLORS[indices], colors):
        raise DataError(f"'{path}' has colours that are not in the Pascal VOC palette")
    return indices


def _voc_colors() -> NDArray[np.int64]:
    """Return the 256 palette colours as 0xRRGGBB: the bits of the index dealt to the channels."""
    index = np.arange(256)
    colors = np.zeros(256, np.int64)
    for bit in range(8):
        step, channel = divmod(bit, 3)
        colors |= (index >> bit & 1) << (16 - 8 * channel + 7 - step)
    return colors


_VOC_COLORS = _voc_colors()


def _components(region: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    count, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=8)
    return [labels == value for value in range(1, count)]
