"""The one thread that owns the network."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rmpsam_ros.node.threads.call_queue import CallQueue
from rmpsam_ros.node.threads.frame_slot import FrameSlot
from rmpsam_ros.prompting.steps import Steps

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import PendingFrame, Pipeline

T = TypeVar("T")


class BegunFrame(Protocol):
    """What a camera remembers of a frame while it is in the network."""

    @property
    def pending(self) -> PendingFrame:
        """What the network takes."""

    @property
    def together(self) -> bool:
        """Whether the network is faster with several such frames at once."""


class FrameConsumer(Protocol):
    """What the thread works for: a camera with a waiting frame and a way to process it."""

    @property
    def slot(self) -> FrameSlot[Any]:
        """The waiting frame."""

    def begin(self, pipeline: Pipeline, frame: Any) -> BegunFrame | None:
        """Do what comes before the network; None if the frame failed; never raises."""

    def finish(self, pipeline: Pipeline, begun: Any, output: Any) -> None:
        """Do what comes behind the network, of which `output` may be an error; never raises."""


class InferenceThread:
    """Makes the pipelines, hands them frames and calls one at a time, and closes them.

    Everything that touches the network happens in this thread, because a GPU context belongs to
    the thread that made it. Between two passes of the network all waiting calls are answered.

    The cameras are served in turn, so that a fast one does not keep a slow one waiting: one frame
    each, the newest at its turn. Frames that wait at the same time go through the network in one
    pass where that is faster.

    Args:
        create: makes one pipeline for each camera.
        work: the condition of the cameras' slots.
        max_pending: calls of each pipeline that may be waiting or running at the same time.
    """

    def __init__(
        self,
        create: Callable[[], Sequence[Pipeline]],
        cameras: Sequence[FrameConsumer],
        work: threading.Condition,
        max_pending: int,
    ) -> None:
        self._create = create
        self._cameras = cameras
        self._work = work
        self._calls = CallQueue(work, max_pending)
        self._pipelines: futures.Future[Sequence[Pipeline]] = futures.Future()
        # A daemon: a network that is being built cannot be interrupted, the process can end.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def wait_until_ready(self, timeout: float) -> Sequence[Pipeline] | None:
        """Return the pipelines, or None if they are not there yet after `timeout` seconds.

        Raises:
            Exception: whatever making the pipelines raised.
        """
        futures.wait([self._pipelines], timeout)
        return self._pipelines.result() if self._pipelines.done() else None

    def call(
        self, pipeline: Pipeline, function: Callable[[Pipeline], T | Steps[T]], timeout: float
    ) -> T:
        """Run a function in the thread, before the next frame, and return what it returns.

        See `CallQueue.call`.
        """
        return self._calls.call(pipeline, function, timeout)

    def close(self, timeout: float) -> bool:
        """End the thread and the pipelines; waiting calls raise StoppedError.

        Returns:
            False if the thread still runs after `timeout` seconds.
        """
        self._calls.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            pipelines = self._create()
        except Exception as error:
            self._pipelines.set_exception(error)
            return
        self._pipelines.set_result(pipelines)
        try:
            self._serve(deque(zip(self._cameras, pipelines, strict=True)))
        finally:
            for pipeline in pipelines:
                pipeline.close()

    def _serve(self, turns: deque[tuple[FrameConsumer, Pipeline]]) -> None:
        while True:
            with self._work:
                self._work.wait_for(self._has_work)
                if self._calls.closed:
                    return
                waiting = len(self._calls)
            for _ in range(waiting):
                self._calls.work_on_next()
            self._process_next(turns)

    def _process_next(self, turns: deque[tuple[FrameConsumer, Pipeline]]) -> None:
        """Process the frame of the next camera that has one, and those that go along with it."""
        begun: list[tuple[FrameConsumer, Pipeline, BegunFrame]] = []
        for _ in range(len(turns)):
            camera, pipeline = turns[0]
            turns.rotate(-1)
            frame = camera.slot.take()
            one = None if frame is None else camera.begin(pipeline, frame)
            if one is None:
                continue
            begun.append((camera, pipeline, one))
            if not one.together:
                break
        if not begun:
            return
        outputs = _infer(begun[0][1], [one.pending for _, _, one in begun])
        for (camera, pipeline, one), output in zip(begun, outputs, strict=True):
            camera.finish(pipeline, one, output)
        del outputs, output  # an error among them knows this frame, and all that is in it

    def _has_work(self) -> bool:
        return self._calls.closed or bool(self._calls) or any(one.slot for one in self._cameras)


def _infer(pipeline: Pipeline, frames: Sequence[PendingFrame]) -> Sequence[Any]:
    """Return the output of every frame, or an error for each; never raises."""
    try:
        return pipeline.infer(frames)
    except Exception as error:
        return [error] * len(frames)
