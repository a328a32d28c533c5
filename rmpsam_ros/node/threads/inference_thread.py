"""The one thread that owns the network."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, Protocol

from rmpsam_ros.node.threads.call_queue import ANSWER_TIME, CallQueue
from rmpsam_ros.node.threads.frame_slot import FrameSlot
from rmpsam_ros.node.threads.right_of_way import RightOfWay
from rmpsam_ros.node.threads.worker import Worker

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import PendingFrame, Pipeline


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


class InferenceThread(Worker):
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
        right_of_way: that is given before every frame to who waits for another thread.

    Attributes:
        calls: run between two frames; when the thread is closed, those that wait raise
            StoppedError.
        closes_pipelines: whether the pipelines are closed at the end; not while another thread
            that hangs may use them.
    """

    def __init__(
        self,
        create: Callable[[], Sequence[Pipeline]],
        cameras: Sequence[FrameConsumer],
        work: threading.Condition,
        max_pending: int,
        right_of_way: RightOfWay | None = None,
    ) -> None:
        super().__init__("inference", work)
        self._right_of_way = right_of_way or RightOfWay()
        self._create = create
        self._cameras = cameras
        self.calls = CallQueue(work, max_pending)
        self.closes_pipelines = True
        self._pipelines: futures.Future[Sequence[Pipeline]] = futures.Future()
        self._start()

    def wait_until_ready(self, timeout: float) -> Sequence[Pipeline] | None:
        """Return the pipelines, or None if they are not there yet after `timeout` seconds.

        Raises:
            Exception: whatever making the pipelines raised.
        """
        futures.wait([self._pipelines], timeout)
        return self._pipelines.result() if self._pipelines.done() else None

    def close(self, timeout: float) -> bool:
        """End the thread; unanswered calls raise StoppedError. Returns as `Worker.close`."""
        self.calls.close()
        if super().close(max(0.0, timeout - ANSWER_TIME)):
            return True
        self.calls.refuse_running()
        return super().close(min(timeout, ANSWER_TIME))

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
            self.calls.close()
            for pipeline in pipelines if self.closes_pipelines else ():
                pipeline.close()

    def _serve(self, turns: deque[tuple[FrameConsumer, Pipeline]]) -> None:
        while True:
            with self._work:
                self._work.wait_for(self._has_work)
                if self._closing:
                    return
                waiting = len(self.calls)
            for _ in range(waiting):
                with self._at_work():
                    self.calls.work_on_next()
            if any(camera.slot for camera in self._cameras):
                self._right_of_way.give_way()
            with self._at_work(), self._right_of_way.frame():
                self._process_next(turns)

    def _process_next(self, turns: deque[tuple[FrameConsumer, Pipeline]]) -> None:
        """Process the frame of the next camera that has one, and those that go along with it."""
        begun: list[tuple[FrameConsumer, Pipeline, BegunFrame]] = []
        for _ in range(len(turns)):
            camera, pipeline = turns[0]
            turns.rotate(-1)
            frame = camera.slot.take()
            started = None if frame is None else camera.begin(pipeline, frame)
            if started is None:
                continue
            begun.append((camera, pipeline, started))
            if not started.together:
                break
        if not begun:
            return
        outputs = _infer(begun[0][1], [frame.pending for _, _, frame in begun])
        if self._closing:
            return  # perhaps given up long ago: another network may be at work by now
        for (camera, pipeline, frame), output in zip(begun, outputs, strict=True):
            camera.finish(pipeline, frame, output)
        del outputs, output  # an error among them knows this frame, and all that is in it

    def _has_work(self) -> bool:
        return self._closing or bool(self.calls) or any(camera.slot for camera in self._cameras)


def _infer(pipeline: Pipeline, frames: Sequence[PendingFrame]) -> Sequence[Any]:
    """Return the output of every frame, or an error for each; never raises."""
    try:
        return pipeline.infer(frames)
    except Exception as error:
        return [error] * len(frames)
