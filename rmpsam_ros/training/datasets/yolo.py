"""YOLO segmentation: one text file per picture, one polygon per line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.training.samples import DataError, Sample, stack_masks
from rmpsam_ros.training.taxonomy import IGNORED

from .base import DatasetConfig, list_images, read_image
from .label_maps import class_name


class YoloSegmentation:
    """Lines of ``class x1 y1 x2 y2 ...``, coordinates divided by the size of the picture.

    A picture without a text file has no objects.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self._images = list_images(config)
        if not config.annotations.is_dir():
            raise DataError(f"data set {config.name!r}: '{config.annotations}' is not a folder")

    def __len__(self) -> int:
        return len(self._images)

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of picture ``index``."""
        return self._images[index].stem

    def load(self, index: int) -> Sample:
        """Return picture ``index`` with its annotation."""
        image = read_image(self._images[index])
        size = image.shape[:2]
        path = self._config.annotations / f"{self._images[index].stem}.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        masks: list[NDArray[np.bool_]] = []
        classes: list[int] = []
        ignore = np.zeros(size, bool)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            value, polygon = _parse(line, path, number, size)
            target = self._config.mapping.class_of(class_name(self._config, value, path))
            mask = fill_polygons([polygon], size)
            if target == IGNORED:
                ignore |= mask
            elif mask.sum() >= self._config.minimum_area:
                masks.append(mask)
                classes.append(target)
        return Sample(
            image, stack_masks(masks, size), np.array(classes, np.int64), ignore,
            self._config.mapping.annotated,
        )


def fill_polygons(
    polygons: list[NDArray[np.float64]], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the union of polygons [P, 2] (x, y in pixels) as a mask [H, W]."""
    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        # Eight fractional bits; a pixel's centre lies at +0.5 in annotation coordinates.
        cv2.fillPoly(mask, [np.round((polygon - 0.5) * 256).astype(np.int32)], 1, shift=8)
    return mask.astype(bool)


def _parse(
    line: str, path: Path, number: int, size: tuple[int, int]
) -> tuple[int, NDArray[np.float64]]:
    try:
        fields = line.split()
        value, numbers = int(fields[0]), np.array(fields[1:], np.float64)
    except ValueError as error:
        raise DataError(f"'{path}' line {number}: not numbers ({error})") from error
    if len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
        raise DataError(
            f"'{path}' line {number}: {len(numbers)} coordinates; expected x y pairs of at "
            "least three points"
        )
    return value, numbers.reshape(-1, 2) * (size[1], size[0])
