"""Brings results and their depth images together, beside the inference."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header

from rmpsam_ros.node.depth.matching import Match, StampMatcher
from rmpsam_ros.node.input.images import Picture

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult, Pipeline

WAITING = 4  # results that wait for their depth image
PATIENCE = 1.0  # seconds that a result waits


@dataclass(frozen=True, slots=True)
class Job:
    """A result whose things are to be found in space. stamp: nanoseconds, of the image."""

    header: Header
    stamp: int
    picture: Picture
    result: FrameResult
    pipeline: Pipeline


class DepthThread:
    """Works on the newest result that has its depth image; older ones are dropped.

    A result waits until a depth image of its time, or of a later time, has come, at most
    `PATIENCE` seconds. At most `WAITING` wait; newer ones are dropped then, not older ones: where
    depth always comes late, those would never be there when theirs comes.

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
        use: Callable[[Job, Match[Any]], None],
        on_missing: Callable[[Job], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._work = work
        self._matcher = matcher
        self._use = use
        self._on_missing = on_missing
        self._on_error = on_error
        self._closing = False
        self._jobs: deque[tuple[float, Job]] = deque()  # with the end of patience
        self._thread = threading.Thread(target=self._run, name="depth", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Leave a result; from any thread."""
        with self._work:
            if len(self._jobs) == WAITING:
                if not any(self._matcher.settled(one.stamp) for _, one in self._jobs):
                    return
                self._jobs.popleft()  # there is a newer one to be worked on, or this one is late
            self._jobs.append((time.monotonic() + PATIENCE, job))
            self._work.notify_all()

    def clear(self) -> None:
        """Forget the results that wait."""
        with self._work:
            self._jobs.clear()

    def close(self, timeout: float) -> None:
        """End the thread."""
        with self._work:
            self._closing = True
            self._work.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._work:
                while not self._closing and not self._ready():
                    self._work.wait(self._rest())
                if self._closing:
                    return
                job, match = self._take()
            try:
                if match is None:
                    self._on_missing(job)
                else:
                    self._use(job, match)
            except Exception as error:
                self._on_error(error)
            del job, match  # images and a pipeline, which may be closed meanwhile

    def _ready(self) -> bool:
        now = time.monotonic()
        return any(end <= now or self._matcher.settled(job.stamp) for end, job in self._jobs)

    def _rest(self) -> float | None:
        """Seconds until the first result has waited long enough; None: nothing waits."""
        if not self._jobs:
            return None
        return max(self._jobs[0][0] - time.monotonic(), 0.0)

    def _take(self) -> tuple[Job, Match[Any] | None]:
        """Take the newest result that need not wait, if possible with depth; drop older ones."""
        now = time.monotonic()
        ready = [
            (place, job, self._matcher.find(job.stamp))
            for place, (end, job) in enumerate(self._jobs)
            if end <= now or self._matcher.settled(job.stamp)
        ]
        place, job, match = next((one for one in reversed(ready) if one[2]), ready[-1])
        for _ in range(place + 1):
            self._jobs.popleft()
        return job, match
