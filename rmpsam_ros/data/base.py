"""Parts of all data sets: their description, reading images, and splits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.samples import DataError, Sample
from rmpsam_ros.data.taxonomy import ClassMapping


@dataclass(frozen=True)
class DatasetConfig:
    """Where a data set lies and how its classes map to the label set.

    images: folder of the images. annotations: file or folder, by format.
    split: text file with one file name (without suffix) per line; empty: all images.
    class_names: names by source index, for formats that store only numbers.
    unlabelled: what pixels without a label are in ``instance_maps``: ``other`` (none of the
        objects) or ``ignore`` (unknown).
    """

    name: str
    format: str
    images: Path
    annotations: Path
    mapping: ClassMapping
    split: Path | None = None
    class_names: dict[int, str] = field(default_factory=dict)
    minimum_area: int = 16
    unlabelled: str = "other"

    def __post_init__(self) -> None:
        if self.unlabelled not in ("other", "ignore"):
            raise DataError(
                f"data set {self.name!r}: unlabelled is {self.unlabelled!r}; use 'other' or "
                "'ignore'"
            )


@runtime_checkable
class SampleSet(Protocol):
    """A data set of single images."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Sample:
        """Return image ``index`` with its annotation; DataError if the files do not fit."""
        ...

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of image ``index``."""
        ...


@runtime_checkable
class ClipSet(Protocol):
    """A data set of videos."""

    def __len__(self) -> int: ...

    def load_clip(self, index: int, frames: int, rng: np.random.Generator) -> list[Sample]:
        """Return ``frames`` frames of video ``index``; mask g is the same object in each."""
        ...


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image as RGB uint8 [H, W, 3]."""
    return np.ascontiguousarray(read_pixels(path, cv2.IMREAD_COLOR, "images")[:, :, ::-1])


def read_pixels(path: Path, flags: int, entry: str) -> NDArray[Any]:
    """Return what OpenCV reads of an image file, BGR, [H, W] or [H, W, channels].

    Args:
        flags: of ``cv2.imread``.
        entry: of the configuration, that says where the file should be.

    Raises:
        DataError: it cannot be read.
    """
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise DataError(f"'{path}' is missing or not an image; check '{entry}'")
    return pixels


def read_label_map(path: Path, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return a one-channel label image [H, W] of the size of its image.

    Palette images give indices, not colours.
    """
    labels = read_pixels(path, cv2.IMREAD_UNCHANGED, "annotations")
    if labels.ndim != 2:
        raise DataError(f"'{path}' has {labels.shape[2]} channels; expected one with class ids")
    check_size(labels, size, path)
    return labels.astype(np.int64)


def check_size(array: NDArray[Any], size: tuple[int, int], path: Path) -> None:
    """Raise DataError if an annotation [H, W, ...] is not of the size of its image."""
    if array.shape[:2] != size:
        raise DataError(
            f"'{path}' is {array.shape[1]}x{array.shape[0]} but its image is {size[1]}x{size[0]}"
        )


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as JSON: {error}") from error


def read_split(config: DatasetConfig) -> list[str] | None:
    """Return the names in the split file of a data set, or None without one."""
    if config.split is None:
        return None
    try:
        lines = config.split.read_text().splitlines()
    except OSError as error:
        raise DataError(f"split '{config.split}' cannot be read: {error}") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise DataError(f"split '{config.split}' lists no file names")
    return names


def list_images(config: DatasetConfig) -> list[Path]:
    """Return the images of a data set, sorted by name, of its split only."""
    suffixes = {".jpg", ".jpeg", ".png"}
    if not config.images.is_dir():
        raise DataError(f"data set {config.name!r}: '{config.images}' is not a folder")
    found = {p.stem: p for p in sorted(config.images.iterdir()) if p.suffix.lower() in suffixes}
    names = read_split(config)
    if names is None:
        names = list(found)
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"data set {config.name!r}: {len(missing)} images of the split are not in "
            f"'{config.images}', the first is {missing[0]!r}"
        )
    if not names:
        raise DataError(f"data set {config.name!r}: no images in '{config.images}'")
    return [found[name] for name in names]
