"""Counts, rates and times of one camera, written by the inference thread, read by everybody."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

WINDOW = 100  # frames over which times are given
DARK_IMAGES = 30  # in a row that are worth a warning


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Seconds that one frame spent in each stage; `total` from arrival to the last publish."""

    wait: float
    decode: float
    preprocess: float
    inference: float
    postprocess: float
    fill: float
    publish: float
    total: float


class CameraStatistics:
    """What became of the frames that were taken out of the slot.

    Attributes:
        processed: frames whose results were published.
        failed: frames that were refused or failed.
        failures_in_a_row: of these, the ones since the last good frame.
        last_error: reason of the newest failure; empty: none so far.
        damaged: images whose data was damaged, whether they were used or refused.
        last_damage: of the newest of them; empty: none so far.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.processed = 0
        self.failed = 0
        self.failures_in_a_row = 0
        self.last_error = ""
        self._last_error_time = 0.0
        self.damaged = 0
        self.last_damage = ""
        self._last_damage_time = 0.0
        self._dark, self._darkness = 0, ""
        self._times: deque[FrameTimes] = deque(maxlen=WINDOW)

    def succeed(self, times: FrameTimes) -> None:
        """Count a good frame."""
        with self._lock:
            self.processed += 1
            self.failures_in_a_row = 0
            self._times.append(times)

    def fail(self, reason: str) -> None:
        """Count a bad frame."""
        with self._lock:
            self.failed += 1
            self.failures_in_a_row += 1
            self.last_error = reason
            self._last_error_time = time.monotonic()

    def seconds_since_error(self) -> float:
        """Return the age of `last_error`."""
        return time.monotonic() - self._last_error_time

    def note_damage(self, damage: str) -> None:
        """Count a damaged image."""
        with self._lock:
            self.damaged += 1
            self.last_damage = damage
            self._last_damage_time = time.monotonic()

    def seconds_since_damage(self) -> float:
        """Return the age of `last_damage`."""
        return time.monotonic() - self._last_damage_time

    def note_darkness(self, darkness: str) -> None:
        """Take note of why an image is nearly black; empty: it is not."""
        with self._lock:
            self._dark = self._dark + 1 if darkness else 0
            self._darkness = darkness

    @property
    def darkness(self) -> str:
        """Why all newest images are nearly black; empty: they are not."""
        with self._lock:
            return self._darkness if self._dark >= DARK_IMAGES else ""

    def recent_times(self) -> list[FrameTimes]:
        """Return the times of the last good frames, oldest first."""
        with self._lock:
            return list(self._times)


class RateMeter:
    """Turns a growing count into a rate, over the time between two readings."""

    def __init__(self) -> None:
        self._count = 0
        self._time = time.monotonic()

    def read(self, count: int) -> float:
        """Return events per second since the last reading."""
        now = time.monotonic()
        elapsed, new = now - self._time, count - self._count
        self._count, self._time = count, now
        return new / elapsed if elapsed > 0.0 else 0.0
