"""The thread of a prompt engine that runs beside the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rmpsam_ros.node.threads.call_queue import CallQueue
from rmpsam_ros.prompting.steps import Steps
from rmpsam_ros.runtime.priority import yield_to_frames

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import Pipeline

T = TypeVar("T")


class PromptThread:
    """Answers prompts and follows prompted objects, so that frames do not wait for it.

    The pipelines it is called with are those of one prompt engine; they stay open until this
    thread has ended.

    Args:
        max_pending: calls of each pipeline that may be waiting or running at the same time.
    """

    def __init__(self, max_pending: int) -> None:
        self._work = threading.Condition()
        self._calls = CallQueue(self._work, max_pending)
        # Pipelines with a new frame, the one that has waited longest first.
        self._to_follow: dict[Pipeline, Callable[[Exception], None]] = {}
        self._thread = threading.Thread(target=self._run, name="prompts", daemon=True)
        self._thread.start()

    def call(
        self, pipeline: Pipeline, function: Callable[[Pipeline], T | Steps[T]], timeout: float
    ) -> T:
        """Run a function in the thread and return what it returns; see `CallQueue.call`."""
        return self._calls.call(pipeline, function, timeout)

    def on_frame(self, pipeline: Pipeline, on_error: Callable[[Exception], None]) -> None:
        """Look for the followed objects of a pipeline, if it is time to; returns at once.

        Args:
            on_error: called with what following the objects raised.
        """
        with self._work:
            self._to_follow.setdefault(pipeline, on_error)
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
        yield_to_frames()
        while True:
            with self._work:
                self._work.wait_for(lambda: self._calls.closed or self._calls or self._to_follow)
                if self._calls.closed:
                    return
            self._calls.work_on_next()
            self._follow_one()  # also after a call: a flood of them must not prevent it

    def _follow_one(self) -> None:
        with self._work:
            if not self._to_follow:
                return
            pipeline = next(iter(self._to_follow))
            on_error = self._to_follow.pop(pipeline)
        try:
            pipeline.follow()
        except Exception as error:
            on_error(error)
