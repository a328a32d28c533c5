"""Notices when a thread of the node hangs or has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.status import Level, Status
from rmpsam_ros.node.threads.call_queue import CallQueue, StalledError
from rmpsam_ros.node.threads.worker import Worker

REMEDY = (
    "restart it: ros2 lifecycle set {node} deactivate, cleanup, configure, activate; or restart "
    "the process"
)


class Watchdog:
    """Looks at threads once a second, and answers the requests that wait for one that hangs.

    A network may hang in a driver, in a machine that swaps, or in an image that takes for ever to
    be decoded: no frame ends then, and nothing else would tell.

    Args:
        settings: with ``stall_timeout``; a thread of low priority may take `Worker.patience` times
            as long.
        threads: returns the threads that there are now, with the queues of their calls.
        node: its full name, for the remedy.
    """

    def __init__(
        self,
        settings: LiveSettings,
        threads: Callable[[], Iterable[tuple[Worker, CallQueue]]],
        logger: Any,
        node: str,
    ) -> None:
        self._settings = settings
        self._threads = threads
        self._logger = logger
        self._remedy = REMEDY.format(node=node)
        self._known = ""  # name of the thread that was reported

    @property
    def alarmed(self) -> bool:
        """Whether a thread hung or had ended when `check` looked last."""
        return bool(self._known)

    def check(self, status: Status) -> Status:
        """Return a status, or in its place an error if a thread hangs or has ended."""
        for thread, calls in self._threads():
            problem = self._problem(thread)
            if problem:
                calls.refuse_waiting(partial(StalledError, problem))
                if self._known != thread.name:
                    self._known = thread.name
                    self._logger.error(f"{problem}; {self._remedy}")
                return Status(status.part, Level.ERROR, f"{problem}; {self._remedy}")
        if self._known:
            self._logger.info(f"the thread '{self._known}' works again, or is gone")
            self._known = ""
        return status

    def _problem(self, thread: Worker) -> str:
        """Return what is wrong with a thread; empty: nothing."""
        if thread.has_ended:
            error = thread.failure
            reason = "" if error is None else f": {type(error).__name__}: {error}"
            return f"the thread '{thread.name}' has ended{reason}"
        seconds = thread.busy_for
        if seconds > self._settings.current.stall_timeout * thread.patience:
            return f"the thread '{thread.name}' has worked on one thing for {seconds:.0f} s"
        return ""
