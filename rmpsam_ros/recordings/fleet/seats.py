"""Where workers live: processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from rmpsam_ros.recordings import ENVIRONMENT
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.places import Source
from rmpsam_ros.recordings.fleet.work import LOADING_PATIENCE, Setup, Worker

BEAT_PERIOD = 1.0  # s between two signs of life at least


class WorkerDied(RuntimeError):
    """A worker ended while it was needed, or was ended because it hung; the message says how."""


class Seat(Protocol):
    """A place for one worker at a time; used by one thread, but for `close`."""

    def start(self) -> None:
        """Have a worker that is ready.

        Raises:
            WorkerDied: it ended meanwhile.
            RecordingError: it cannot load the network; another one could not either.
        """

    def run(self, source: Source) -> dict[str, Any]:
        """Have the worker process a recording, and return its entry in the manifest.

        Raises:
            WorkerDied: it ended meanwhile; `start` gets another one.
        """

    def close(self) -> None:
        """End the worker, from any thread; what it was working on is not completed."""


class ProcessSeat:
    """A worker in a process of its own."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """See `Seat`."""
        if self._process is not None and self._process.is_alive():
            return
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        context = multiprocessing.get_context("spawn")  # threads and GPUs do not survive a fork
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, self._setup), daemon=True)
        self._process.start()
        other.close()
        kind, content = self._answer(LOADING_PATIENCE)
        if kind == "error":
            raise RecordingError(content)

    def run(self, source: Source) -> dict[str, Any]:
        """See `Seat`."""
        assert self._connection is not None
        try:
            self._connection.send(source)
        except OSError as error:
            raise WorkerDied(self._how_it_ended()) from error
        kind, content = self._answer(self._setup.patience)
        if kind == "crash":
            raise WorkerDied(content)
        result: dict[str, Any] = content
        return result

    def close(self) -> None:
        """See `Seat`."""
        process = self._process
        if process is None or not process.is_alive():
            return
        process.terminate()  # it removes what is not complete
        process.join(10.0)
        if process.is_alive():
            process.kill()
            process.join()

    def _answer(self, patience: float) -> Any:
        """Return what the worker says when it is done; end it if it shows no sign of life."""
        assert self._connection is not None and self._process is not None
        try:
            while self._connection.poll(patience):
                answer = self._connection.recv()
                if answer is not None:
                    return answer
        except (EOFError, OSError) as error:
            raise WorkerDied(self._how_it_ended()) from error
        self._process.kill()
        self._process.join()
        raise WorkerDied(hung(patience))

    def _how_it_ended(self) -> str:
        process = self._process
        assert process is not None
        process.join(10.0)
        code = process.exitcode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with status {code}"


def hung(patience: float) -> str:
    """Return what is said of a worker that was ended because it hung."""
    return f"it did nothing for {patience:g} s"


def _work(connection: Connection, setup: Setup) -> None:
    """Run in the process of a worker: take recordings until nobody gives any."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        try:
            worker = Worker(setup, _beats(connection))
        except RecordingError as error:
            connection.send(("error", str(error)))
            return
        connection.send(("ready", worker.engine))
        while True:
            source = connection.recv()
            try:
                answer: tuple[str, Any] = ("done", worker.run(source))
            except Exception as error:  # of the code itself: perhaps another try is better
                answer = ("crash", f"{type(error).__name__}: {error}")
            connection.send(answer)
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


def _beats(connection: Connection) -> Callable[[], None]:
    """Return what sends a sign of life, None, though not too often."""
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= BEAT_PERIOD:
            last = now
            connection.send(None)

    return beat
