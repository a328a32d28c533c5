"""A thread that waits for work until it is closed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Worker(ABC):
    """Base of the node's threads: one condition to wait at, one flag that ends the waiting.

    A daemon: a network that is being built cannot be interrupted, but the process can end.

    Args:
        name: of the thread, for debuggers and logs.
        work: notified when there is something to do; None: a condition of its own.
    """

    def __init__(self, name: str, work: threading.Condition | None = None) -> None:
        self._work = threading.Condition() if work is None else work
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def _run(self) -> None:
        """Work until `_closing` is set; runs in the thread."""

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
