"""The one thread that owns the pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rmpsam_ros.node.call_queue import CallQueue
from rmpsam_ros.node.frame_slot import FrameSlot

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import Pipeline

T = TypeVar("T")


class FrameConsumer(Protocol):
    """What the thread works for: a camera with a waiting frame and a way to process it."""

    slot: FrameSlot[Any]

    def process(self, pipeline: Pipeline, frame: Any) -> None:
        """Do everything for one frame; never raises."""


class InferenceThread:
    """Makes the pipeline, hands it frames and calls one at a time, and closes it.

    Everything that touches the pipeline happens in this thread, because a GPU context belongs to
    the thread that made it. Between two frames all waiting calls are answered.

    Args:
        create: makes the pipeline.
        cameras: served in turn, so that a fast one does not keep a slow one waiting.
        work: the condition of the cameras' slots.
        max_pending: calls that may be waiting or running at the same time.
    """

    def __init__(
        self,
        create: Callable[[], Pipeline],
        cameras: Sequence[FrameConsumer],
        work: threading.Condition,
        max_pending: int,
    ) -> None:
        self._create = create
        self._cameras = cameras
        self._work = work
        self._calls = CallQueue(work, max_pending)
        self._pipeline: futures.Future[Pipeline] = futures.Future()
        # A daemon: a network that is being built cannot be interrupted, the process can end.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def wait_until_ready(self, timeout: float) -> Pipeline | None:
        """Return the pipeline, or None if it is not there yet after `timeout` seconds.

        Raises:
            Exception: whatever making the pipeline raised.
        """
        futures.wait([self._pipeline], timeout)
        return self._pipeline.result() if self._pipeline.done() else None

    def call(self, function: Callable[[Pipeline], T], timeout: float) -> T:
        """Run a function in the thread, before the next frame, and return what it returns.

        See `CallQueue.call`.
        """
        return self._calls.call(function, timeout)

    def close(self, timeout: float) -> bool:
        """End the thread and the pipeline; waiting calls raise StoppedError.

        Returns:
            False if the thread still runs after `timeout` seconds.
        """
        self._calls.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            pipeline = self._create()
        except Exception as error:
            self._pipeline.set_exception(error)
            return
        self._pipeline.set_result(pipeline)
        try:
            self._serve(pipeline)
        finally:
            pipeline.close()

    def _serve(self, pipeline: Pipeline) -> None:
        while True:
            with self._work:
                self._work.wait_for(self._has_work)
                if self._calls.closed:
                    return
                waiting = len(self._calls)
            for _ in range(waiting):
                call = self._calls.take()
                if call is not None:  # its caller may have given it up
                    call.answer(pipeline)
            for camera in self._cameras:
                frame = camera.slot.take()
                if frame is not None:
                    camera.process(pipeline, frame)

    def _has_work(self) -> bool:
        return self._calls.closed or bool(self._calls) or any(one.slot for one in self._cameras)
