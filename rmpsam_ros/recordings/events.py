"""Results of a processed recording, in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.recordings.cameras import CameraTopics
from rmpsam_ros.recordings.topics import Recorded

if TYPE_CHECKING:
    from rmpsam_ros.geometry import LocatedTrack
    from rmpsam_ros.node.input.images import DecodedImage
    from rmpsam_ros.pipeline import FrameResult, Pipeline


@dataclass(frozen=True, slots=True)
class ProcessedFrame:
    """A frame and its result.

    Attributes:
        message: the image message.
        stamp: nanoseconds for the pipeline: of the header, or `time` where that is 0.
        time: when the image was recorded, nanoseconds.
        headers: of this and earlier frames, by the pipeline's stamp.
    """

    camera: CameraTopics
    message: Any
    stamp: int
    time: int
    picture: DecodedImage
    result: FrameResult
    pipeline: Pipeline
    headers: FrameHeaders

    @property
    def header(self) -> Any:
        """Header of the image."""
        return self.message.header

    def rgb(self) -> NDArray[np.uint8]:
        """Return the pixels (H, W, 3) as RGB."""
        pixels = self.picture.pixels
        if self.picture.channel_order == "rgb":
            return pixels
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)

    def overlay(self) -> NDArray[np.uint8]:
        """Return the result drawn over the image, (H, W, 3) RGB."""
        return self.pipeline.overlay(self.rgb(), self.result)


@dataclass(frozen=True, slots=True)
class LocatedFrame:
    """Where the tracks of a frame are; offset: stamp of the depth minus that of the image, ns."""

    camera: CameraTopics
    header: Any
    time: int
    offset: int
    located: tuple[LocatedTrack, ...]
    pipeline: Pipeline


class FrameHeaders:
    """Headers of the newest frames by the pipeline's stamp."""

    MAX = 4096  # as the node: far more frames than memory keeps for prompts

    def __init__(self) -> None:
        self._headers: dict[float, Any] = {}

    def put(self, stamp: float, header: Any) -> None:
        """Remember a frame."""
        self._headers.pop(stamp, None)
        self._headers[stamp] = header
        if len(self._headers) > self.MAX:
            del self._headers[next(iter(self._headers))]

    def find(self, stamp: float) -> Any:
        """Return the header of a frame, or of the oldest that is known."""
        known = self._headers.get(stamp)
        return next(iter(self._headers.values())) if known is None else known


class Sink(Protocol):
    """Takes what comes out of a recording; a context that completes what it writes."""

    def frame(self, frame: ProcessedFrame) -> None:
        """Take a frame and its result."""

    def located(self, frame: LocatedFrame) -> None:
        """Take the positions of an earlier frame."""

    def copy(self, recorded: Recorded) -> None:
        """Take a message as it was recorded."""


@dataclass
class CameraCounts:
    """What became of the images of one camera.

    Attributes:
        frames: images that were processed.
        failed: images that were not, by reason.
        damaged: images that were, though their data is damaged, by damage.
        tracks: ids of the tracks that were confirmed.
        located: results that were found in space; without_depth: that were not, by reason.
        resets: how often the stamps went back.
    """

    frames: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    tracks: set[int] = field(default_factory=set)
    located: int = 0
    without_depth: Counter[str] = field(default_factory=Counter)
    resets: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for a report."""
        return {
            "frames": self.frames,
            "failed": dict(sorted(self.failed.items())),
            "damaged": dict(sorted(self.damaged.items())),
            "tracks": len(self.tracks),
            "located": self.located,
            "without_depth": dict(sorted(self.without_depth.items())),
            "resets": self.resets,
        }
