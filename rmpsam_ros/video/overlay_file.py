"""Writes a video file that is there completely or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


class OutputError(ValueError):
    """A file that cannot be written; the message says which and why."""


class VideoFile:
    """An MP4 file; frames go to a file beside it, which takes its place at the end."""

    def __init__(self, path: Path, rate: float, overwrite: bool = False) -> None:
        """Check the path.

        Args:
            rate: frames per second.
            overwrite: whether a file that is there is replaced at the end.

        Raises:
            OutputError: the path is no .mp4, exists already, or has no folder.
        """
        check_output(path, ".mp4", overwrite)
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial.mp4")
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None

    def write(self, bgr: NDArray[np.uint8]) -> None:
        """Append a frame, (H, W, 3), of the same size as those before.

        The format wants even sizes: an odd one grows by a repeated row or column.

        Raises:
            OutputError: nothing can be written there.
        """
        height, width = bgr.shape[:2]
        if height % 2 or width % 2:
            edge = cv2.BORDER_REPLICATE
            grown = cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, edge)
            bgr = np.asarray(grown, np.uint8)
        if self._writer is None:
            size = (bgr.shape[1], bgr.shape[0])
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._partial), codec, self._rate, size)
            if not self._writer.isOpened():
                raise OutputError(f"'{self._path}' cannot be written: is its folder writable?")
        self._writer.write(bgr)

    def finish(self) -> None:
        """Put the file in its place.

        Raises:
            OutputError: there is nothing, because no frame came or the disk is full.
        """
        self._release()
        if not self._partial.is_file() or not self._partial.stat().st_size:
            raise OutputError(f"'{self._path}' was not written: is there space on the disk?")
        os.replace(self._partial, self._path)

    def discard(self) -> None:
        """Leave nothing behind of a file that is not finished."""
        self._release()
        self._partial.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.release()


@contextlib.contextmanager
def video_file(path: Path, rate: float, overwrite: bool = False) -> Iterator[VideoFile]:
    """Open a `VideoFile`; of one that is not finished nothing remains."""
    file = VideoFile(path, rate, overwrite)
    try:
        yield file
    finally:
        file.discard()


def check_output(path: Path, suffix: str, overwrite: bool = False) -> None:
    """Raise OutputError unless a file can be made at ``path``; ``overwrite``: or replaced."""
    if path.suffix.lower() != suffix:
        raise OutputError(f"output '{path}' has another suffix than {suffix}")
    if path.exists() and not (overwrite and path.is_file()):
        raise OutputError(f"output '{path}' exists already; name another one, or --overwrite")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"the folder of output '{path}' does not exist; make it first")
