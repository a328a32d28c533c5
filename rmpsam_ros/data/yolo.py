"""YOLO segmentation: one text file per image, one polygon per line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.base import DatasetConfig, list_images, read_image
from rmpsam_ros.data.label_maps import class_name
from rmpsam_ros.data.samples import DataError, Sample, stack_masks
from rmpsam_ros.data.taxonomy import IGNORED


class YoloSegmentation:
    """Lines of ``class x1 y1 x2 y2 ...``, coordinates divided by the size of the image.

    An image without a text file has no objects.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self._images = list_images(config)
        if not config.annotations.is_dir():
            raise DataError(f"data set {config.name!r}: '{config.annotations}' is not a folder")

    def __len__(self) -> int:
        return len(self._images)

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of image ``index``."""
        return self._images[index].stem

    def load(self, index: int) -> Sample:
        """Return image ``index`` with its annotation."""
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
            image,
            stack_masks(masks, size),
            np.array(classes, np.int64),
            ignore,
            self._config.mapping.annotated,
        )


def fill_polygons(polygons: list[NDArray[np.float64]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the union of polygons [P, 2] (x, y in pixels) as a mask [H, W].

    A pixel belongs to a polygon if its centre lies inside (even-odd rule).
    """
    height, width = size
    mask = np.zeros(size, bool)
    center = np.arange(height) + 0.5
    for polygon in polygons:
        (x1, y1), (x2, y2) = polygon.T[:, :, None], np.roll(polygon, -1, axis=0).T[:, :, None]
        edges, rows = np.nonzero((y1 <= center) != (y2 <= center))
        x1, y1, x2, y2 = x1[edges, 0], y1[edges, 0], x2[edges, 0], y2[edges, 0]
        crossing = x1 + (center[rows] - y1) / (y2 - y1) * (x2 - x1)
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
        crossings = np.zeros((height, width + 1), np.int64)
        np.add.at(crossings, (rows, columns), 1)
        mask |= np.cumsum(crossings[:, :width], axis=1) % 2 == 1
    return mask


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
