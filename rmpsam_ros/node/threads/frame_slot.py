"""A place for one item, where a newer one replaces an older one."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FrameSlot(Generic[Item]):
    """Hands the newest item to another thread; one that nobody fetched in time is dropped.

    All methods may be called from any thread. `condition` is notified by `offer`; it may be shared
    with other sources of work, so that one thread can wait for all of them.

    Attributes:
        received: items offered.
        dropped: items that were replaced or cleared before they were taken.
    """

    def __init__(self, condition: threading.Condition) -> None:
        self._condition = condition
        self._item: Item | None = None
        self.received = 0
        self.dropped = 0

    def offer(self, item: Item) -> None:
        """Leave an item in place of the one that may still wait."""
        with self._condition:
            self.clear()
            self._item = item
            self.received += 1
            self._condition.notify_all()

    def take(self) -> Item | None:
        """Return the waiting item and empty the slot; None if there is none."""
        with self._condition:
            item, self._item = self._item, None
            return item

    def clear(self) -> None:
        """Drop the waiting item."""
        with self._condition:
            if self.take() is not None:
                self.dropped += 1

    def reset_counts(self) -> None:
        """Count from 0 again."""
        with self._condition:
            self.received = self.dropped = 0

    def __bool__(self) -> bool:
        """Tell whether an item is waiting."""
        return self._item is not None
