"""Who goes first when the processor is too small for frames and prompts at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MAX_WAIT = 1.5  # seconds for which frames wait at most
REST = 2.0  # times as long as they waited, frames do not wait again


class RightOfWay:
    """Lets frames wait for a moment while somebody waits for the answer to a new prompt.

    The image encoder of a prompt engine and the network, side by side on few cores, take three
    times as long as one after the other, and a person who clicked waits for both. Clicks are rare;
    many of them take at most a third of the time.

    All methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting = 0
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
