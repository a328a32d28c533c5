"""Images in the order of their stamps."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")

WINDOW = 4  # items held back: recorders write images of several threads out of order by very few


class StampOrder(Generic[Item]):
    """Puts items in order that come out of order by less than `WINDOW` places.

    A stamp that goes back by more than `backward_jump` begins another run of time, as in the node:
    what came before it is given first.

    Args:
        backward_jump: nanoseconds.
    """

    def __init__(self, backward_jump: int) -> None:
        self._backward_jump = backward_jump
        self._waiting: list[tuple[int, int, Item]] = []
        self._order = count()
        self._newest: int | None = None

    def put(self, stamp: int, item: Item) -> Iterator[Item]:
        """Take in an item, and yield those whose turn it is."""
        if self._newest is not None and stamp < self._newest - self._backward_jump:
            yield from self.rest()
        self._newest = stamp if self._newest is None else max(stamp, self._newest)
        heapq.heappush(self._waiting, (stamp, next(self._order), item))
        if len(self._waiting) > WINDOW:
            yield heapq.heappop(self._waiting)[2]

    def rest(self) -> Iterator[Item]:
        """Yield all that wait."""
        while self._waiting:
            yield heapq.heappop(self._waiting)[2]
        self._newest = None
