"""Finds the depth image that belongs to an image, by their stamps."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from rmpsam_ros.node.parameters.settings import LiveSettings

Item = TypeVar("Item")

MAX_ITEMS = 12  # items kept: 0.4 seconds of a 30 Hz camera; depth at 1080p takes 4 or 8 MB each
MAX_HELD = 6  # stamps whose items are kept longer


@dataclass(frozen=True, slots=True)
class Match(Generic[Item]):
    """An item, and its stamp minus the one that was looked for, nanoseconds."""

    item: Item
    offset: int


class StampMatcher(Generic[Item]):
    """Keeps the newest items by their stamps, and finds the one nearest to another stamp.

    Items may come in any order. A stamp that comes again replaces its item; one that goes back by
    more than ``backward_jump`` is the begin of another run of time, and the older items are
    forgotten. All stamps are nanoseconds. All methods may be called from any thread.

    Args:
        work: notified by `keep`.
        settings: with ``depth_tolerance``, how far stamps may lie apart, and ``backward_jump``,
            by how much they may go back, seconds.

    Attributes:
        received: items kept so far.
    """

    def __init__(self, work: threading.Condition, settings: LiveSettings) -> None:
        self._work = work
        self._settings = settings
        self._items: dict[int, Item] = {}
        self._held: deque[int] = deque(maxlen=MAX_HELD)
        self.received = 0

    def keep(self, stamp: int, item: Item) -> None:
        """Keep an item, and forget the oldest that nobody needs if there are too many."""
        with self._work:
            self.received += 1
            if (
                self._items
                and stamp < max(self._items) - self._settings.current.backward_jump * 1e9
            ):
                self._items.clear()
                self._held.clear()
            self._items[stamp] = item
            if len(self._items) > MAX_ITEMS:
                needed = {self._nearest(held) for held in self._held}
                del self._items[min(stamp for stamp in self._items if stamp not in needed)]
            self._work.notify_all()

    def hold(self, stamp: int) -> None:
        """Keep what matches a stamp until `MAX_HELD` others are held.

        A slow network needs its depth late.
        """
        with self._work:
            self._held.append(stamp)

    def find(self, stamp: int) -> Match[Item] | None:
        """Return the item nearest to a stamp; None if none is within the tolerance."""
        with self._work:
            nearest = self._nearest(stamp)
            return None if nearest is None else Match(self._items[nearest], nearest - stamp)

    def settled(self, stamp: int) -> bool:
        """Tell whether what `find` returns is final, as long as items come in order."""
        with self._work:
            newest = max(self._items, default=None)
            if newest is None or newest < stamp:
                return False
            found = self._nearest(stamp) is not None
            return found or newest > stamp + self._settings.current.depth_tolerance * 1e9

    def distance(self, stamp: int) -> float | None:
        """Return how far the nearest item is from a stamp, seconds; None: there is no item."""
        with self._work:
            return min(((kept - stamp) * 1e-9 for kept in self._items), key=abs, default=None)

    def clear(self) -> None:
        """Forget all items."""
        with self._work:
            self._items.clear()
            self._held.clear()

    def _nearest(self, stamp: int) -> int | None:
        nearest = min(self._items, key=lambda kept: abs(kept - stamp), default=None)
        if nearest is None or abs(nearest - stamp) > self._settings.current.depth_tolerance * 1e9:
            return None
        return nearest
