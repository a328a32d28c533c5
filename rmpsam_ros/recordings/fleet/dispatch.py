"""Shares recordings out among workers until all are accounted for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.manifest import FAILED
from rmpsam_ros.recordings.fleet.places import Source
from rmpsam_ros.recordings.fleet.seats import Seat, WorkerDied

Report = Callable[[Source, dict[str, Any]], None]


class Dispatch:
    """Gives every seat one recording after the other; one whose worker died is tried again.

    Args:
        attempts: how often a recording is tried before it counts as failed.
        report: called with the entry of every recording, one at a time.
    """

    def __init__(self, sources: Sequence[Source], attempts: int, report: Report) -> None:
        self._jobs = deque((source, 1) for source in sources)
        self._open = len(self._jobs)  # not reported yet
        self._attempts = attempts
        self._report = report
        self._changed = threading.Condition()
        self._problem: Exception | None = None

    def run(self, seats: Sequence[Seat]) -> None:
        """Work until every recording is reported, or nobody can work.

        Raises:
            RecordingError: the network cannot be loaded, or a report cannot be written.
        """
        threads = [
            threading.Thread(target=self._serve, args=(seat,), daemon=True) for seat in seats
        ]
        for thread in threads:
            thread.start()
        try:
            with self._changed:
                while self._open and self._problem is None:
                    self._changed.wait(0.5)  # a moment: signals are looked at in between
        finally:
            with self._changed:
                self._jobs.clear()
                self._open = 0
                self._changed.notify_all()
            for seat in seats:
                seat.close()
            for thread in threads:
                thread.join(10.0)
        if self._problem is not None:
            raise self._problem

    def _serve(self, seat: Seat) -> None:
        """Run in the thread of a seat."""
        deaths = 0
        while True:
            try:
                seat.start()
                deaths = 0
            except WorkerDied as error:
                deaths += 1
                if self._is_over():
                    return
                if deaths >= self._attempts:
                    self._give_up(RecordingError(f"no worker can start: {error}"))
                    return
                continue
            except Exception as error:
                self._give_up(error)
                return
            job = self._take()
            if job is None:
                return
            self._work(seat, *job)

    def _work(self, seat: Seat, source: Source, attempt: int) -> None:
        try:
            entry = seat.run(source)
        except WorkerDied as error:
            if attempt < self._attempts:
                with self._changed:
                    if self._open:
                        self._jobs.append((source, attempt + 1))
                        self._changed.notify_all()
                return
            entry = {"state": FAILED, "reason": f"its worker died: {error}"}
        except Exception as error:
            self._give_up(error)
            return
        with self._changed:
            if not self._open:
                return
            try:
                self._report(source, {**entry, "attempts": attempt})
            except Exception as error:
                self._problem = error
            self._open -= 1
            self._changed.notify_all()

    def _take(self) -> tuple[Source, int] | None:
        """Return the next recording; None: all are reported."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._open)
            return self._jobs.popleft() if self._jobs else None

    def _is_over(self) -> bool:
        with self._changed:
            return not self._open

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            if self._open:
                self._problem = error
            self._changed.notify_all()
