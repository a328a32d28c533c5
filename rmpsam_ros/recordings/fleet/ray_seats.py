"""Where workers live: actors of a Ray cluster."""

from __future__ import annotations

import logging
import math
import socket
import time
from typing import Any

import ray
from ray import exceptions

from rmpsam_ros.recordings import ENVIRONMENT
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.places import Source
from rmpsam_ros.recordings.fleet.seats import WorkerDied, hung
from rmpsam_ros.recordings.fleet.work import LOADING_PATIENCE, Setup, Worker

_DEATHS = (
    exceptions.RayActorError,
    exceptions.NodeDiedError,
    exceptions.OutOfMemoryError,
    exceptions.WorkerCrashedError,
    exceptions.ObjectLostError,
)


class Actor:
    """A worker on some machine of the cluster; its engine stays loaded."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._worker: Worker | None = None
        self._beat()

    def _beat(self) -> None:
        self._last = time.monotonic()

    def idle_for(self) -> float:
        """Return the seconds since it last did something; answers beside the other calls."""
        return time.monotonic() - self._last

    def load(self) -> str:
        """Load the network, and return why it cannot; empty: it is ready."""
        self._beat()
        try:
            self._worker = Worker(self._setup, self._beat)
        except RecordingError as error:
            return str(error)
        return ""

    def run(self, source: Source) -> dict[str, Any]:
        """Process a recording, and return its entry in the manifest."""
        assert self._worker is not None
        self._beat()
        return self._worker.run(source)


class RaySeat:
    """A worker as an actor; when it dies, with its machine or alone, `start` asks for another.

    Args:
        cpus, gpus: what it needs of a machine.
    """

    def __init__(self, setup: Setup, cpus: float, gpus: float) -> None:
        self._setup = setup
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0}
        options["max_concurrency"] = 2  # somebody works, and somebody says how it goes
        self._class = ray.remote(**options, runtime_env={"env_vars": ENVIRONMENT})(Actor)
        self._actor: Any = None

    def start(self) -> None:
        """See `Seat`; waits until the cluster has room."""
        if self._actor is not None:
            return
        self._actor = self._class.remote(self._setup)
        self._get(self._actor.idle_for.remote(), math.inf)  # it has a machine
        problem = self._get(self._actor.load.remote(), LOADING_PATIENCE)
        if problem:
            raise RecordingError(problem)

    def run(self, source: Source) -> dict[str, Any]:
        """See `Seat`."""
        entry: dict[str, Any] = self._get(self._actor.run.remote(source), self._setup.patience)
        return entry

    def close(self) -> None:
        """See `Seat`."""
        if self._actor is not None:
            ray.kill(self._actor)

    def _get(self, reference: Any, patience: float) -> Any:
        """Return the result of a call; an actor that does nothing for `patience` s is ended."""
        try:
            while patience < math.inf and not ray.wait([reference], timeout=patience / 4)[0]:
                self._check_alive(patience)
            return ray.get(reference)
        except _DEATHS as error:
            self._actor = None
            raise WorkerDied(" ".join(str(error).split())[:300]) from error
        except exceptions.RayTaskError as error:  # of the code itself
            raise WorkerDied(f"{type(error.cause).__name__}: {error.cause}") from error

    def _check_alive(self, patience: float) -> None:
        """End the actor and raise WorkerDied if it hangs."""
        try:
            if ray.get(self._actor.idle_for.remote(), timeout=patience) < patience:
                return
        except exceptions.GetTimeoutError:
            pass  # not even this is answered
        ray.kill(self._actor)
        self._actor = None
        raise WorkerDied(hung(patience))


def connect(address: str) -> dict[str, float]:
    """Connect to a cluster, and return its resources.

    address: ``auto`` for the one of this machine, or ``HOST:PORT``.

    Raises:
        RecordingError: there is none.
    """
    try:
        _check_reachable(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"no Ray cluster at '{address}': {reason}") from error
    resources: dict[str, float] = ray.cluster_resources()
    return resources


def _check_reachable(address: str) -> None:
    """Raise OSError unless something listens at ``HOST:PORT``: Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10.0).close()


def disconnect() -> None:
    """Leave the cluster."""
    ray.shutdown()
