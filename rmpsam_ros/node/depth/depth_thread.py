"""Brings results and their depth images together, beside the inference."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rmpsam_ros.node.depth.matching import Match, StampMatcher
from rmpsam_ros.node.results.processed_frame import ProcessedFrame
from rmpsam_ros.node.threads.worker import Worker

MAX_WAITING = 4  # results that wait for their depth image
MAX_WAIT = 1.0  # seconds that a result waits


class DepthThread(Worker):
    """Works on the newest result that has its depth image; older ones are dropped.

    A result waits until a depth image of its time, or of a later time, has come, at most
    `MAX_WAIT` seconds. At most `MAX_WAITING` wait; newer ones are dropped then, not older ones:
    where depth always comes late, those would never be there when theirs comes.

    Args:
        work: the condition of the matcher.
        matcher: holds the depth images.
        use: called in the thread with a result and its depth image.
        on_missing: called in the thread for a result without one.
        on_error: called in the thread with what `use` raised.
    """

    def __init__(
        self,
        work: threading.Condition,
        matcher: StampMatcher[Any],
        use: Callable[[ProcessedFrame, Match[Any]], None],
        on_missing: Callable[[ProcessedFrame], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__("depth", work)
        self._matcher = matcher
        self._use = use
        self._on_missing = on_missing
        self._on_error = on_error
        self._waiting: deque[tuple[float, ProcessedFrame]] = deque()  # with the end of patience
        self._start()

    def submit(self, frame: ProcessedFrame) -> None:
        """Leave a result; from any thread."""
        with self._work:
            if len(self._waiting) == MAX_WAITING:
                if not any(self._matcher.settled(other.stamp) for _, other in self._waiting):
                    return
                self._waiting.popleft()  # a newer one can be worked on, or this one is late
            self._waiting.append((time.monotonic() + MAX_WAIT, frame))
            self._work.notify_all()

    def clear(self) -> None:
        """Forget the results that wait."""
        with self._work:
            self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._work:
                while not self._closing and not self._ready():
                    self._work.wait(self._rest())
                if self._closing:
                    return
                frame, match = self._take()
            try:
                if match is None:
                    self._on_missing(frame)
                else:
                    self._use(frame, match)
            except Exception as error:
                self._on_error(error)
            del frame, match  # images and a pipeline, which may be closed meanwhile

    def _ready(self) -> bool:
        now = time.monotonic()
        return any(
            end <= now or self._matcher.settled(frame.stamp) for end, frame in self._waiting
        )

    def _rest(self) -> float | None:
        """Seconds until the first result has waited long enough; None: nothing waits."""
        if not self._waiting:
            return None
        return max(self._waiting[0][0] - time.monotonic(), 0.0)

    def _take(self) -> tuple[ProcessedFrame, Match[Any] | None]:
        """Take the newest result that need not wait, if possible with depth; drop older ones."""
        now = time.monotonic()
        ready = [
            (place, frame, self._matcher.find(frame.stamp))
            for place, (end, frame) in enumerate(self._waiting)
            if end <= now or self._matcher.settled(frame.stamp)
        ]
        place, frame, match = next((item for item in reversed(ready) if item[2]), ready[-1])
        for _ in range(place + 1):
            self._waiting.popleft()
        return frame, match
