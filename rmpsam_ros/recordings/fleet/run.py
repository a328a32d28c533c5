"""Processes a fleet's recordings."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rmpsam_ros.recordings.bag import BagOptions
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.dispatch import Dispatch
from rmpsam_ros.recordings.fleet.manifest import Manifest
from rmpsam_ros.recordings.fleet.places import Output, Source, find_sources
from rmpsam_ros.recordings.fleet.seats import ProcessSeat, Seat
from rmpsam_ros.recordings.fleet.work import PATIENCE, Setup

ATTEMPTS = 3
Progress = Callable[[Source, dict[str, Any]], None]


def run_fleet(
    addresses: Sequence[str],
    output_address: str,
    options: BagOptions,
    workers: int = 0,
    ray_address: str = "",
    resume: bool = False,
    patience: float = PATIENCE,
    begin: Callable[[int], None] = lambda number: None,
    progress: Progress = lambda source, entry: None,
) -> Manifest:
    """Process every recording that is not done yet, and return the manifest.

    Args:
        addresses: see `find_sources`.
        workers: how many work at the same time; 0: one for each GPU, else one.
        ray_address: of a Ray cluster, on which the workers are actors; empty: processes here.
        resume: go on with the manifest that is there.
        patience: seconds; a worker that finishes no image for so long is ended, and its recording
            tried again.
        begin: called with the number of recordings that are to be processed.
        progress: called for each when it is accounted for.

    Raises:
        RecordingError: sources or output cannot be used, or nobody can work.
    """
    output = Output(output_address)
    with _locked(output):
        manifest = Manifest(output, options.as_dict(), resume)
        waiting = manifest.waiting(find_sources(addresses))
        begin(len(waiting))
        if not waiting:
            return manifest

        def report(source: Source, entry: dict[str, Any]) -> None:
            manifest.record(source, entry)
            progress(source, entry)

        setup = Setup(options, output_address, patience=patience)
        with _seats(setup, workers, ray_address, len(waiting)) as seats:
            Dispatch(waiting, ATTEMPTS, report).run(seats)
    return manifest


@contextmanager
def _seats(setup: Setup, workers: int, ray_address: str, jobs: int) -> Iterator[list[Seat]]:
    """Give the places of the workers, no more than there are recordings."""
    wants_gpu = setup.options.values["device"] != "cpu"
    if not ray_address:
        gpus = _gpus() if wants_gpu else 0
        number = min(workers or max(gpus, 1), jobs)
        devices = [f"cuda:{k % gpus}" if gpus > 1 else "" for k in range(number)]
        yield [ProcessSeat(replace(setup, device=one)) for one in devices]
        return
    from rmpsam_ros.recordings.fleet import ray_seats

    resources = ray_seats.connect(ray_address)
    try:
        gpus = int(resources.get("GPU", 0)) if wants_gpu else 0
        cpus = 1.0 if gpus else float(max(setup.options.values["num_threads"], 1))
        default = gpus or max(int(resources.get("CPU", 1) // cpus), 1)
        number = min(workers or default, jobs)
        yield [ray_seats.RaySeat(setup, cpus, 1.0 if gpus else 0.0) for _ in range(number)]
    finally:
        ray_seats.disconnect()


def _gpus() -> int:
    from rmpsam_ros.runtime.devices import cuda_devices

    return cuda_devices()


@contextmanager
def _locked(output: Output) -> Iterator[None]:
    """Keep other runs out of an output of this machine; elsewhere nothing can be locked."""
    if output.local is None:
        yield
        return
    try:
        output.local.mkdir(parents=True, exist_ok=True)
        lock = os.open(output.local, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RecordingError(f"'{output.local}' cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RecordingError(f"another process is writing '{output.local}'") from error
    finally:
        os.close(lock)
