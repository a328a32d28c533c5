"""The thread of a prompt engine that runs beside the network."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rmpsam_ros.node.call_queue import CallQueue

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import Pipeline

T = TypeVar("T")
NICENESS = 5  # above that of the process: on a full CPU frames come before prompts


class PromptThread:
    """Answers prompts and follows prompted objects, so that frames do not wait for it.

    Args:
        pipeline: one of which prompts run beside; it stays open until this thread has ended.
        max_pending: calls that may be waiting or running at the same time.
        on_error: called with what following the objects raised.
    """

    def __init__(
        self, pipeline: Pipeline, max_pending: int, on_error: Callable[[Exception], None]
    ) -> None:
        self._pipeline = pipeline
        self._on_error = on_error
        self._work = threading.Condition()
        self._calls = CallQueue(self._work, max_pending)
        self._new_frame = False
        self._thread = threading.Thread(target=self._run, name="prompts", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[Pipeline], T], timeout: float) -> T:
        """Run a function in the thread and return what it returns; see `CallQueue.call`."""
        return self._calls.call(function, timeout)

    def on_frame(self) -> None:
        """Look for the followed objects, if it is time to; returns at once."""
        with self._work:
            self._new_frame = True
            self._work.notify_all()

    def close(self, timeout: float) -> bool:
        """End the thread; waiting calls raise StoppedError.

        Returns:
            False if the thread still runs after `timeout` seconds.
        """
        self._calls.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # only Linux knows it for threads
            niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
        while True:
            with self._work:
                self._work.wait_for(lambda: self._calls.closed or self._calls or self._new_frame)
                if self._calls.closed:
                    return
                call = self._calls.take()
                self._new_frame = False
            if call is not None:
                call.answer(self._pipeline)
            try:
                self._pipeline.follow()  # also after a call: a flood of them must not prevent it
            except Exception as error:
                self._on_error(error)
