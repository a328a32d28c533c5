"""One image with some frames of a recording, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.recordings.events import LocatedFrame, ProcessedFrame
from rmpsam_ros.recordings.topics import Recorded

CONTACT_SHEET = "contact_sheet.jpg"
MAX_TILES = 24
TILE_WIDTH = 320  # pixels
COLUMNS = 4


class ContactSheet:
    """Keeps at most `MAX_TILES` frames, evenly spread, with the results drawn over them.

    A context that writes the sheet at its end. How many frames come need not be known: when there
    are too many, every second one goes, and from then on only half as many are taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tiles: list[NDArray[np.uint8]] = []
        self._step = 1
        self._count = 0

    def __enter__(self) -> ContactSheet:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        """Write the sheet, unless something failed or there is nothing."""
        if kind is None and self._tiles:
            _write_jpeg(self._path, _sheet(self._tiles))

    def frame(self, frame: ProcessedFrame) -> None:
        """Take a frame."""
        index = self._count
        self._count += 1
        if index % self._step:
            return
        if len(self._tiles) == MAX_TILES:
            self._tiles = self._tiles[::2]
            self._step *= 2
            if index % self._step:
                return
        self._tiles.append(_tile(frame))

    def located(self, frame: LocatedFrame) -> None:
        """Positions are not drawn."""

    def copy(self, recorded: Recorded) -> None:
        """Other topics are not drawn."""


def _tile(frame: ProcessedFrame) -> NDArray[np.uint8]:
    """Return the drawing of a frame, TILE_WIDTH wide, BGR."""
    overlay = frame.overlay()
    height = max(1, round(TILE_WIDTH * overlay.shape[0] / overlay.shape[1]))
    small = cv2.resize(overlay, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    name = f"{frame.camera.name} " if frame.camera.name else ""
    text = f"{name}{frame.stamp // 10**9}.{frame.stamp % 10**9 // 10**6:03d}"
    for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(bgr, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, width, cv2.LINE_AA)
    return np.asarray(bgr, np.uint8)


def _sheet(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay tiles out in rows; those of one row may have different heights."""
    rows = []
    for start in range(0, len(tiles), COLUMNS):
        row = tiles[start : start + COLUMNS]
        height = max(tile.shape[0] for tile in row)
        cells = [np.pad(tile, ((0, height - len(tile)), (0, 0), (0, 0))) for tile in row]
        width = min(COLUMNS, len(tiles)) * TILE_WIDTH
        line = np.concatenate(cells, axis=1)
        rows.append(np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))))
    return np.concatenate(rows)


def _write_jpeg(path: Path, bgr: NDArray[np.uint8]) -> None:
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
    path.write_bytes(data.tobytes())
