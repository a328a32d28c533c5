"""Who goes first when the processor is too small for frames and prompts at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FRAME_WAIT = 1.0  # seconds for which a new prompt waits for the end of a frame at most
MAX_WAIT = 1.5  # seconds for which frames wait at most
REST = 1.0  # times as long as they waited, frames do not wait again


class RightOfWay:
    """Lets frames wait for a moment while somebody waits for the answer to a new prompt.

    The prompt in its turn waits for the frame that is at work, which cannot be stopped.

    The image encoder of a prompt engine and the network, side by side on few cores, take three
    times as long as one after the other, and a person who clicked waits for both. Clicks are rare;
    many of them take at most half of the time.

    All methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting = 0
        self._frame = False
        self._next = 0.0  # when frames wait again, seconds of the monotonic clock

    def take(self) -> Callable[[], None]:
        """Ask for the right of way; what is returned gives it back, however often it is called."""
        with self._condition:
            self._waiting += 1
        returned = threading.Lock()

        def give_back() -> None:
            if returned.acquire(blocking=False):
                with self._condition:
                    self._waiting -= 1
                    self._condition.notify_all()

        return give_back

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Mark a frame that is at work."""
        self._frame = True
        try:
            yield
        finally:
            with self._condition:
                self._frame = False
                self._condition.notify_all()

    def await_frame(self) -> None:
        """Wait until no frame is at work, unless the next one would not wait either."""
        with self._condition:
            if time.monotonic() >= self._next:
                self._condition.wait_for(lambda: not self._frame, FRAME_WAIT)

    def give_way(self) -> float:
        """Wait until nobody has the right of way; return the seconds that it took."""
        started = time.monotonic()
        with self._condition:
            if not self._waiting or started < self._next:
                return 0.0
            self._condition.wait_for(lambda: not self._waiting, MAX_WAIT)
        waited = time.monotonic() - started
        self._next = started + waited * (1.0 + REST)
        return waited
