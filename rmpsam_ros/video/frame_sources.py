"""Sources of frames: a video, an image, a folder of images, or a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_RATE = 10.0  # images per second where nothing says otherwise
Frame = NDArray[np.uint8]  # (H, W, 3), BGR


class SourceError(ValueError):
    """A source that cannot be read; the message says which and what was expected."""


class FrameSource(Protocol):
    """Frames one after the other.

    Attributes:
        rate: frames per second that the source itself has.
        length: number of frames; None: unknown.
        description: what it is, for the log.
    """

    rate: float
    length: int | None
    description: str

    def frames(self) -> Iterator[Frame]:
        """Yield all frames from the beginning."""

    def close(self) -> None:
        """Give the source back."""


def open_source(source: str) -> FrameSource:
    """Open a video file, an image, a folder of images, or a device.

    Raises:
        SourceError: there is no such thing, or it cannot be read.
    """
    if not source:
        raise SourceError(
            "source is not set; expected a video file, an image, a folder of images or a device"
        )
    path = Path(source).expanduser()
    if path.is_dir():
        return images_of(path)
    if path.is_file() and _is_image(path):  # as a video OpenCV plays its numbered neighbours, too
        return Images([path], f"image {path}")
    if path.is_file() or path.is_char_device():
        return Video(path)
    raise SourceError(f"source '{source}' does not exist")


def images_of(folder: Path) -> Images:
    """Return the images of a folder, by name."""
    paths = sorted(path for path in folder.iterdir() if _is_image(path))
    if not paths:
        raise SourceError(
            f"source '{folder}' is a folder without images ({', '.join(IMAGE_SUFFIXES)})"
        )
    return Images(paths, f"{len(paths)} images of {folder}")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


class Images:
    """Image files in a given order."""

    rate = IMAGE_RATE

    def __init__(self, paths: Sequence[Path], description: str) -> None:
        self._paths = paths
        self.length: int | None = len(paths)
        self.description = description

    def frames(self) -> Iterator[Frame]:
        """Yield all images; one that cannot be read raises SourceError."""
        for path in self._paths:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise SourceError(f"image '{path}' cannot be read")
            yield np.asarray(image, np.uint8)

    def close(self) -> None:
        """Do nothing: files are closed after each image."""


class Video:
    """A video file, or a device."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_device = path.is_char_device()
        self._open()
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or IMAGE_RATE
        number = 0 if self._is_device else int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = number if number > 0 else None
        self.description = f"{'device' if self._is_device else 'video'} {path}"

    def frames(self) -> Iterator[Frame]:
        """Yield all frames of the video from its beginning, or of the device from now on."""
        if not self._is_device:
            self._open()  # seeking back to the beginning does not work in every format
        empty = True
        while True:
            good, frame = self._capture.read()
            if not good:
                break
            empty = False
            yield np.asarray(frame, np.uint8)
        if empty or self._is_device:
            raise SourceError(f"source '{self._path}' gives no frames (any more)")

    def close(self) -> None:
        """Close the file or device."""
        self._capture.release()

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(str(self._path))
        if not self._capture.isOpened():
            raise SourceError(f"source '{self._path}' cannot be opened as a video")
