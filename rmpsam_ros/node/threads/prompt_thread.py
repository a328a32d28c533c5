"""The thread of a prompt engine that runs beside the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rmpsam_ros.node.threads.call_queue import ANSWER_TIME, CallQueue
from rmpsam_ros.node.threads.right_of_way import RightOfWay
from rmpsam_ros.node.threads.worker import Worker
from rmpsam_ros.runtime.priority import SLOWDOWN, yield_to_frames

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import Pipeline


class PromptThread(Worker):
    """Answers prompts and follows prompted objects, so that frames do not wait for it.

    The pipelines it is called with are those of one prompt engine; they stay open until this
    thread has ended.

    Args:
        max_pending: calls of each pipeline that may be waiting or running at the same time.
        right_of_way: that frames give to new calls; None: they do not.

    Attributes:
        calls: when the thread is closed, those that wait raise StoppedError.
    """

    patience = SLOWDOWN

    def __init__(self, max_pending: int, right_of_way: RightOfWay | None = None) -> None:
        super().__init__("prompts")
        self.calls = CallQueue(self._work, max_pending, right_of_way)
        self._right_of_way = right_of_way or RightOfWay()
        # Pipelines with a new frame, the one that has waited longest first.
        self._to_follow: dict[Pipeline, Callable[[Exception], None]] = {}
        self._start()

    def on_frame(self, pipeline: Pipeline, on_error: Callable[[Exception], None]) -> None:
        """Look for the followed objects of a pipeline, if it is time to; returns at once.

        Args:
            on_error: called with what following the objects raised.
        """
        with self._work:
            self._to_follow.setdefault(pipeline, on_error)
            self._work.notify_all()

    def close(self, timeout: float) -> bool:
        """End the thread; unanswered calls raise StoppedError. Returns as `Worker.close`."""
        self.calls.close()
        if super().close(max(0.0, timeout - ANSWER_TIME)):
            return True
        self.calls.refuse_running()
        return super().close(min(timeout, ANSWER_TIME))

    def _run(self) -> None:
        yield_to_frames()
        try:
            self._serve()
        finally:
            self.calls.close()

    def _serve(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._closing or self.calls or self._to_follow)
                if self._closing:
                    return
            if self.calls.next_is_new:
                self._right_of_way.await_frame()
            with self._at_work():
                self.calls.work_on_next()
            with self._at_work():
                self._follow_next()  # also after a call: a flood of them must not prevent it

    def _follow_next(self) -> None:
        with self._work:
            if not self._to_follow:
                return
            pipeline = next(iter(self._to_follow))
            on_error = self._to_follow.pop(pipeline)
        try:
            pipeline.prompts.follow()
        except Exception as error:
            on_error(error)
