"""Calls that wait for the one thread that may make them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent import futures
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from rmpsam_ros.node.threads.right_of_way import RightOfWay
from rmpsam_ros.prompting.steps import Step, Steps

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import Pipeline

T = TypeVar("T")
ANSWER_TIME = 0.5  # seconds that the last answers get when a thread does not end in time


class BusyError(RuntimeError):
    """As many calls as may wait are waiting already."""


class StoppedError(RuntimeError):
    """The thread is not there, or was stopped while the call was waiting."""


class StalledError(RuntimeError):
    """The thread hangs or has ended; the call has not run."""


class WaitedTooLongError(TimeoutError):
    """Nobody got to the call in time; it has not run."""


class TookTooLongError(TimeoutError):
    """The call was begun but is not finished in time; what it does in steps ends there."""


class Call:
    """A function of the pipeline that somebody waits for.

    Attributes:
        given_up: whether nobody waits for it any more.
        begun: called when the function, or its first step, has run; may be called again.
    """

    def __init__(self, pipeline: Pipeline, function: Callable[[Pipeline], Any]) -> None:
        self.pipeline = pipeline
        self.function = function
        self.future: futures.Future[Any] = futures.Future()
        self.given_up = False
        self.begun: Callable[[], None] = lambda: None
        self._committed = False
        self._lock = threading.Lock()  # either it is given up, or it commits
        self._steps: Steps[Any] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether one of its steps has run."""
        return self._steps is not None

    def give_up(self) -> bool:
        """Wait for it no longer; False if it is about to change something, or has."""
        with self._lock:
            self.given_up = not self._committed
            return self.given_up

    def refuse(self, error: Exception) -> None:
        """Answer with an error now, though a step still runs, unless something is changed."""
        if self._steps is not None and self.give_up():
            with contextlib.suppress(futures.InvalidStateError):  # it is answered already
                self.future.set_exception(error)

    def _go_on_if_wanted(self, commit: bool = False) -> None:
        """End the steps if the caller has gone; else it waits for what is committed."""
        with self._lock:
            self._committed |= commit and not self.given_up
        if self.given_up and self._steps is not None:
            self._steps.close()
            raise TookTooLongError("given up")

    def work(self) -> bool:
        """Run the function, or its next step, unless its caller gave it up; never raises.

        Returns:
            Whether that was all.
        """
        try:
            if self._steps is None:
                if not self.future.set_running_or_notify_cancel():
                    return True
                result = self.function(self.pipeline)
                if not isinstance(result, GeneratorType):
                    self.future.set_result(result)
                    return True
                self._steps = result
            self._go_on_if_wanted()
            while next(self._steps) is Step.COMMIT:
                self._go_on_if_wanted(commit=True)
        except StopIteration as end:
            with contextlib.suppress(futures.InvalidStateError):  # refused meanwhile
                self.future.set_result(end.value)
        except Exception as error:
            with contextlib.suppress(futures.InvalidStateError):
                self.future.set_exception(error)
            del self  # an error knows the frames that it came through, and this one knows it
            return True
        return self.future.done()


class CallQueue:
    """Bounded queue of calls; `call` may be used from any thread but the one that answers.

    Args:
        work: notified when a call has come or the queue is closed.
        max_pending: calls of each pipeline that may be waiting or running at the same time.
        right_of_way: taken for every call until its first step has run; None: calls have none.

    Attributes:
        closed: whether calls are no longer taken.
    """

    def __init__(
        self,
        work: threading.Condition,
        max_pending: int,
        right_of_way: RightOfWay | None = None,
    ) -> None:
        self._work = work
        self._right_of_way = right_of_way
        self._max_pending = max_pending
        self._pending: Counter[Pipeline] = Counter()
        self._calls: deque[Call] = deque()
        self._running: Call | None = None
        self.closed = False

    @overload
    def call(
        self, pipeline: Pipeline, function: Callable[[Pipeline], Steps[T]], timeout: float
    ) -> T: ...

    @overload
    def call(self, pipeline: Pipeline, function: Callable[[Pipeline], T], timeout: float) -> T: ...

    def call(self, pipeline: Pipeline, function: Callable[[Pipeline], Any], timeout: float) -> Any:
        """Have the other thread run a function of a pipeline, and return what it returns.

        Args:
            pipeline: whose call it is; too many calls of one do not keep another from its own.
            function: what it does in steps takes turns with other calls and frames.
            timeout: seconds until it must have returned, or begun to change something.

        Raises:
            BusyError: too many calls of this pipeline are pending.
            StoppedError: the queue is closed.
            WaitedTooLongError: it did not get to run.
            TookTooLongError: it did not get finished.
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
            if self._right_of_way is not None:
                call.begun = self._right_of_way.take()
            self._calls.append(call)
            self._work.notify_all()
        try:
            return self._wait(call, timeout)
        except futures.CancelledError as error:
            raise StoppedError("the node was stopped") from error
        finally:
            call.begun()

    @property
    def next_is_new(self) -> bool:
        """Whether there is a call that waits for its first step, before all others."""
        with self._work:
            return bool(self._calls) and not self._calls[0].has_begun

    def work_on_next(self) -> None:
        """Work on the call that has waited longest, if there is one; never raises.

        One that has further steps waits for its next turn.
        """
        with self._work:
            if not self._calls:
                return
            call = self._running = self._calls.popleft()
        done = call.work()
        self._running = None
        call.begun()
        if done:
            del call  # as in `Call.work`
            return
        with self._work:
            self._calls.append(call)
            if self.closed:
                self._stop_waiting()

    def close(self) -> None:
        """Take no more calls; the waiting ones raise StoppedError."""
        with self._work:
            self.closed = True
            self._stop_waiting()
            self._work.notify_all()

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._calls)

    def _wait(self, call: Call, timeout: float) -> Any:
        # Not future.result(timeout): the function itself may raise TimeoutError.
        futures.wait([call.future], timeout)
        if call.future.done():
            return call.future.result()
        if not call.give_up():
            futures.wait([call.future], timeout)  # it has changed something: its caller must know
            if call.future.done():
                return call.future.result()
        if call.future.cancel():
            with self._work:
                if call in self._calls:
                    self._calls.remove(call)
            raise WaitedTooLongError(f"not worked on within {timeout:g} s")
        raise TookTooLongError(f"not finished within {timeout:g} s")

    def refuse_waiting(self, reason: Callable[[], Exception]) -> None:
        """Have all waiting calls raise an error, between two steps as well.

        Args:
            reason: makes the error, one for every call.
        """
        with self._work:
            while self._calls:
                future = self._calls.popleft().future
                if future.running() or future.set_running_or_notify_cancel():
                    future.set_exception(reason())

    def refuse_running(self) -> None:
        """Have the call whose step does not end raise StoppedError, too; the step goes on."""
        with self._work:
            if self._running is not None:
                self._running.refuse(StoppedError("the node was stopped"))

    def _stop_waiting(self) -> None:
        self.refuse_waiting(lambda: StoppedError("the node was stopped"))

    def _on_done(self, pipeline: Pipeline) -> None:
        with self._work:
            self._pending[pipeline] -= 1
