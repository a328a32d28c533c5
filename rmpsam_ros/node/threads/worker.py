"""A thread that waits for work until it is closed."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager


class Worker(ABC):
    """Base of the node's threads: one condition to wait at, one flag that ends the waiting.

    A daemon: a network that is being built cannot be interrupted, but the process can end.

    Args:
        name: of the thread, for debuggers and logs.
        work: notified when there is something to do; None: a condition of its own.

    Attributes:
        patience: how many times as long as others it may take, for its priority, until it is taken
            to hang.
        failure: what ended the thread before it was closed; None: nothing has.
    """

    patience = 1.0

    def __init__(self, name: str, work: threading.Condition | None = None) -> None:
        self._work = threading.Condition() if work is None else work
        self._closing = False
        self._busy_since: float | None = None
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @property
    def name(self) -> str:
        """The name of the thread."""
        return self._thread.name

    @property
    def busy_for(self) -> float:
        """Seconds since the piece of work was begun that is not done yet; 0: it waits for work."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def has_ended(self) -> bool:
        """Whether the thread has ended though nobody closed it."""
        return not self._closing and not self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None:
        """Work until `_closing` is set; runs in the thread."""

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Mark one piece of work, which `busy_for` measures."""
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = None

    def _main(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failure = error
            raise

    def _start(self) -> None:
        """Begin to work, when everything that `_run` needs is there."""
        self._thread.start()

    def close(self, timeout: float) -> bool:
        """End the thread.

        Returns:
            False if it still runs after `timeout` seconds.
        """
        with self._work:
            self._closing = True
            self._work.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()
