"""Limits how often something may happen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimit:
    """Lets things happen at a mean rate, after a pause as many at once as fit in a second.

    Args:
        clock: returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = -1e9
        self._room = 0.0

    def take(self, rate: float) -> bool:
        """Tell whether it may happen now; if so, it counts. From any thread.

        Args:
            rate: how many per second there may be, above 0.
        """
        with self._lock:
            now = self._clock()
            self._room = min(max(1.0, rate), self._room + (now - self._last) * rate)
            self._last = now
            if self._room < 1.0:
                return False
            self._room -= 1.0
            return True
