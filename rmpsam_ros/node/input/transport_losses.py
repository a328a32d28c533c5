"""Counts messages that were published but never arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

MAX_PUBLISHERS = 32
WINDOW = 10  # readings over which the share is taken


class TransportLosses:
    """Follows the sequence numbers that publishers give their messages.

    ROS 2 Humble tells no numbers, then nothing is counted. Jazzy tells numbers, but not whose they
    are: there the count is right as long as there is one publisher.

    Attributes:
        lost: messages whose numbers were skipped.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._numbers: dict[bytes, int] = {}
        self._readings: deque[tuple[int, int]] = deque([(0, 0)], maxlen=WINDOW + 1)

    def note(self, info: Mapping[str, Any]) -> None:
        """Take in the information that came with a message."""
        number = info.get("publication_sequence_number")
        if number is None:
            return
        publisher = (info.get("publisher_gid") or {}).get("data", b"")
        last = self._numbers.pop(publisher, None)
        if last is not None and number > last:
            self.lost += number - last - 1
        self._numbers[publisher] = number  # the newest last
        if len(self._numbers) > MAX_PUBLISHERS:
            del self._numbers[next(iter(self._numbers))]

    def recent_share(self, received: int) -> float:
        """Return the share of lost messages, 0 to 1, over the last `WINDOW` readings.

        Args:
            received: messages that arrived so far.
        """
        self._readings.append((self.lost, received))
        lost = self.lost - self._readings[0][0]
        arrived = received - self._readings[0][1]
        return lost / (lost + arrived) if lost else 0.0
