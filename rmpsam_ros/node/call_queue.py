"""Calls that wait for the one thread that may make them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import Pipeline

T = TypeVar("T")


class BusyError(RuntimeError):
    """As many calls as may wait are waiting already."""


class StoppedError(RuntimeError):
    """The thread is not there, or was stopped while the call was waiting."""


class WaitedTooLongError(TimeoutError):
    """Nobody got to the call in time; it has not run."""


class Call:
    """A function of the pipeline that somebody waits for."""

    def __init__(self, pipeline: Pipeline, function: Callable[[Pipeline], Any]) -> None:
        self.pipeline = pipeline
        self.function = function
        self.future: futures.Future[Any] = futures.Future()

    def answer(self) -> None:
        """Run the function, unless its caller gave it up; never raises."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.function(self.pipeline)
        except Exception as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class CallQueue:
    """Bounded queue of calls; `call` may be used from any thread but the one that answers.

    Args:
        work: notified when a call has come or the queue is closed.
        max_pending: calls of each pipeline that may be waiting or running at the same time.

    Attributes:
        closed: whether calls are no longer taken.
    """

    def __init__(self, work: threading.Condition, max_pending: int) -> None:
        self._work = work
        self._max_pending = max_pending
        self._pending: Counter[Pipeline] = Counter()
        self._calls: deque[Call] = deque()
        self.closed = False

    def call(self, pipeline: Pipeline, function: Callable[[Pipeline], T], timeout: float) -> T:
        """Have the other thread run a function of a pipeline, and return what it returns.

        Args:
            pipeline: whose call it is; too many calls of one do not keep another from its own.
            timeout: seconds to wait until it runs, and again until it returns.

        Raises:
            BusyError: too many calls of this pipeline are pending.
            StoppedError: the queue is closed.
            WaitedTooLongError: it did not get to run.
            TimeoutError: it took too long.
            Exception: whatever the function raised.
        """
        call = Call(pipeline, function)
        with self._work:
            if self.closed:
                raise StoppedError("the network is not loaded")
            pending = self._pending[pipeline]
            if pending >= self._max_pending:
                raise BusyError(f"{pending} requests are waiting; try again later")
            self._pending[pipeline] += 1
            call.future.add_done_callback(lambda _: self._on_done(pipeline))
            self._calls.append(call)
            self._work.notify_all()
        try:
            return self._wait(call, timeout)
        except futures.CancelledError as error:
            raise StoppedError("the node was stopped") from error

    def take(self) -> Call | None:
        """Return the call that has waited longest, None if there is none."""
        with self._work:
            return self._calls.popleft() if self._calls else None

    def close(self) -> None:
        """Take no more calls; the waiting ones raise StoppedError."""
        with self._work:
            self.closed = True
            while self._calls:
                future = self._calls.popleft().future
                future.cancel()
                future.set_running_or_notify_cancel()  # wakes who waits for it
            self._work.notify_all()

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._calls)

    def _wait(self, call: Call, timeout: float) -> Any:
        # Not future.result(timeout): a TimeoutError of the function is none of ours.
        futures.wait([call.future], timeout)
        if not call.future.done() and call.future.cancel():
            with self._work:
                if call in self._calls:
                    self._calls.remove(call)
            raise WaitedTooLongError(f"not worked on within {timeout:g} s")
        futures.wait([call.future], timeout)
        if not call.future.done():
            raise TimeoutError(f"not finished after {timeout:g} s of work")
        return call.future.result()

    def _on_done(self, pipeline: Pipeline) -> None:
        with self._work:
            self._pending[pipeline] -= 1
