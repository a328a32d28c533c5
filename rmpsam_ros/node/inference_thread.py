"""The one thread that owns the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rmpsam_ros.node.frame_slot import FrameSlot

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import Pipeline

T = TypeVar("T")


class BusyError(RuntimeError):
    """As many calls as may wait are waiting already."""


class StoppedError(RuntimeError):
    """The thread is not there, or was stopped while the call was waiting."""


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
        max_waiting: calls that may wait at the same time.
    """

    def __init__(
        self,
        create: Callable[[], Pipeline],
        cameras: Sequence[FrameConsumer],
        work: threading.Condition,
        max_waiting: int,
    ) -> None:
        self._create = create
        self._cameras = cameras
        self._work = work
        self._max_waiting = max_waiting
        self._calls: deque[tuple[futures.Future[Any], Callable[[Pipeline], Any]]] = deque()
        self._closing = False
        self._pipeline: futures.Future[Pipeline] = futures.Future()
        # A daemon: a network that is being built cannot be interrupted, the process can end.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def wait_until_ready(self, timeout: float) -> Pipeline | None:
        """Return the pipeline, or None if it is not there yet after `timeout` seconds.

        Raises:
            Exception: whatever making the pipeline raised.
        """
        try:
            return self._pipeline.result(timeout)
        except futures.TimeoutError:
            return None

    def call(self, function: Callable[[Pipeline], T], timeout: float) -> T:
        """Run a function in the thread, before the next frame, and return what it returns.

        Args:
            timeout: seconds to wait until it runs, and again until it returns.

        Raises:
            BusyError: too many calls are waiting.
            StoppedError: the thread stopped.
            TimeoutError: it took too long.
            Exception: whatever the function raised.
        """
        future: futures.Future[T] = futures.Future()
        with self._work:
            if self._closing:
                raise StoppedError("the network is not loaded")
            if len(self._calls) >= self._max_waiting:
                raise BusyError(f"{len(self._calls)} requests are waiting; try again later")
            self._calls.append((future, function))
            self._work.notify_all()
        try:
            return future.result(timeout)
        except futures.CancelledError as error:
            raise StoppedError("the node was stopped") from error
        except futures.TimeoutError as error:
            if not future.cancel():  # it runs, or has just finished
                return future.result(timeout)
            with self._work:
                self._calls = deque(one for one in self._calls if one[0] is not future)
            raise TimeoutError(f"not worked on within {timeout:g} s") from error

    def close(self, timeout: float) -> bool:
        """End the thread and the pipeline; waiting calls raise StoppedError.

        Returns:
            False if the thread still runs after `timeout` seconds.
        """
        with self._work:
            self._closing = True
            while self._calls:
                self._calls.popleft()[0].cancel()
            self._work.notify_all()
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
                if self._closing:
                    return
                calls = list(self._calls)
                self._calls.clear()
            for future, function in calls:
                _answer(future, function, pipeline)
            for camera in self._cameras:
                frame = camera.slot.take()
                if frame is not None:
                    camera.process(pipeline, frame)

    def _has_work(self) -> bool:
        return self._closing or bool(self._calls) or any(one.slot for one in self._cameras)


def _answer(
    future: futures.Future[T], function: Callable[[Pipeline], T], pipeline: Pipeline
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(pipeline)
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)
