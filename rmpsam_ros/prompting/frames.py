"""The frames of the last seconds, so that a prompt is answered on the frame a person saw."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting.query_masks import QueryMasks
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.run_length import RunLengthMask

_FEATURE_BYTES = 64  # per pixel of the padded input: 256 channels, stride 4, float32


class NoFrameError(RuntimeError):
    """A prompt came before any frame was processed."""


class FrameNotKeptError(RuntimeError):
    """A prompt names a frame that is not kept, not any more or not at all."""


@dataclass(eq=False, slots=True)
class KeptFrame:
    """One processed frame with everything that answers prompts on it.

    Attributes:
        stamp: seconds, as it was given to the pipeline.
        image: (H, W, 3) uint8 in ``channel_order``, never written to.
        geometry: how the image was fitted into the network input.
        features: the network's own handle; None if a prompt engine of its own answers.
        queries: masks of the object queries.
        tracks: masks of the confirmed panoptic tracks that the frame shows, by track id.
        embedding: what a prompt engine made of the image; None: nobody has prompted the frame.
            Only the thread that runs this engine may touch it.
        embedding_bytes: its memory.
    """

    stamp: float
    image: NDArray[np.uint8]
    channel_order: Literal["rgb", "bgr"]
    geometry: Letterbox
    features: Any
    queries: QueryMasks
    tracks: Mapping[int, RunLengthMask] = field(default_factory=dict)
    embedding: Any = None
    embedding_bytes: int = 0

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The image (H, W, 3) in RGB, a view of any strides."""
        return self.image if self.channel_order == "rgb" else self.image[..., ::-1]

    @property
    def nbytes(self) -> int:
        """Memory that the frame takes, as well as it can be known of features on a device."""
        height, width = self.geometry.padded_size
        features = 0 if self.features is None else _FEATURE_BYTES * height * width
        return self.image.nbytes + features + self.queries.nbytes + self.embedding_bytes


class FrameStore:
    """Newest frames by stamp, bounded in time and memory; every thread may call every method.

    Args:
        window_seconds: frames older than the newest one by more are dropped.
        max_bytes: the oldest frames are dropped beyond it, never the newest one.
    """

    def __init__(self, window_seconds: float, max_bytes: int) -> None:
        self._window = window_seconds
        self._max_bytes = max_bytes
        self._frames: dict[float, KeptFrame] = {}  # by stamp, in order of arrival
        self._lock = threading.Lock()

    def keep(self, frame: KeptFrame) -> None:
        """Take in the newest frame; it replaces one of the same stamp."""
        with self._lock:
            self._frames.pop(frame.stamp, None)
            self._frames[frame.stamp] = frame
            self._drop()

    def drop_excess(self) -> None:
        """Drop the oldest frames if the kept ones have grown by embeddings."""
        with self._lock:
            if self._frames:
                self._drop()

    def find(self, stamp: float | None) -> KeptFrame:
        """Return the frame with exactly this stamp (seconds), the newest one for None.

        Raises:
            NoFrameError: there is no frame at all yet.
            FrameNotKeptError: the frame is not kept; the message names those that are.
        """
        with self._lock:
            if not self._frames:
                raise NoFrameError("no image has been processed yet; send images first")
            if stamp is None:
                return next(reversed(self._frames.values()))
            frame = self._frames.get(stamp)
            if frame is None:
                raise FrameNotKeptError(self._refusal(stamp))
            return frame

    def newest(self) -> KeptFrame | None:
        """Return the frame that came last, None if there is none."""
        with self._lock:
            return next(reversed(self._frames.values()), None)

    def after(self, stamp: float) -> list[KeptFrame]:
        """Return the frames later than a stamp (seconds), oldest first."""
        with self._lock:
            later = [frame for frame in self._frames.values() if frame.stamp > stamp]
        return sorted(later, key=lambda frame: frame.stamp)

    def oldest_stamp(self) -> float | None:
        """Return the earliest stamp that is kept, None if there is no frame."""
        with self._lock:
            return min(self._frames, default=None)

    def clear(self) -> None:
        """Drop all frames."""
        with self._lock:
            self._frames.clear()

    def _drop(self) -> None:
        newest = next(reversed(self._frames))
        for stamp in [known for known in self._frames if known < newest - self._window]:
            del self._frames[stamp]
        total = sum(frame.nbytes for frame in self._frames.values())
        while total > self._max_bytes and len(self._frames) > 1:
            oldest = next(iter(self._frames))
            total -= self._frames.pop(oldest).nbytes

    def _refusal(self, stamp: float) -> str:
        first, last = min(self._frames), max(self._frames)
        number = len(self._frames)
        return (
            f"the image of {stamp:.6f} s is not kept; kept {'is' if number == 1 else 'are'} "
            f"{number} from {first:.6f} to {last:.6f} s: ask for the stamp of one of them or for "
            f"the newest, or keep more by keep_seconds ({self._window:g}) and keep_megabytes "
            f"({self._max_bytes / 1e6:g})"
        )
