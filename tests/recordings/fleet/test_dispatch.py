"""Recordings are shared out until all are accounted for, whoever dies."""

import threading

import pytest

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.dispatch import Dispatch
from rmpsam_ros.recordings.fleet.places import Source
from rmpsam_ros.recordings.fleet.seats import WorkerDied

SOURCES = [Source(f"run{k}", f"/fleet/run{k}", "x") for k in range(6)]


class Seat:
    """Works, dies or fails as a function says, which gets the recording's name."""

    def __init__(self, behave=lambda name: None, start=lambda: None):
        self.behave, self.start = behave, start
        self.closed, self.done = False, []

    def run(self, source):
        self.behave(source.name)
        self.done.append(source.name)
        return {"state": "done"}

    def close(self):
        self.closed = True


def dispatch(seats, attempts=3):
    reports = {}

    def report(source, entry):
        assert source.name not in reports
        reports[source.name] = (entry["state"], entry["attempts"])

    Dispatch(SOURCES, attempts, report).run(seats)
    assert all(seat.closed for seat in seats)
    return reports


def test_all_are_done_once():
    seats = [Seat(), Seat()]
    assert dispatch(seats) == {one.name: ("done", 1) for one in SOURCES}
    assert sorted(seats[0].done + seats[1].done) == [one.name for one in SOURCES]


def test_one_whose_worker_died_is_tried_again():
    deaths = []

    def die_once(name):
        if name == "run3" and not deaths:
            deaths.append(name)
            raise WorkerDied("killed")

    reports = dispatch([Seat(die_once), Seat(die_once)])
    assert reports.pop("run3") == ("done", 2)
    assert set(reports.values()) == {("done", 1)}


def test_one_that_kills_every_worker_fails_and_the_others_are_done():
    def die(name):
        if name == "run1":
            raise WorkerDied("out of memory")

    reports = dispatch([Seat(die), Seat(die)])
    assert reports.pop("run1") == ("failed", 3)
    assert set(reports.values()) == {("done", 1)}


def test_a_network_that_cannot_be_loaded_ends_everything():
    def start():
        raise RecordingError("no such weights")

    with pytest.raises(RecordingError, match="no such weights"):
        dispatch([Seat(start=start), Seat(start=start)])


def test_workers_that_never_start_end_everything():
    def start():
        raise WorkerDied("no memory")

    with pytest.raises(RecordingError, match="no worker can start: no memory"):
        dispatch([Seat(start=start)])


def test_a_seat_that_never_gets_a_worker_holds_nobody_up():
    waiting = threading.Event()
    stuck = Seat(start=lambda: waiting.wait(30.0))
    stuck.close = lambda: (waiting.set(), setattr(stuck, "closed", True))
    assert len(dispatch([stuck, Seat()])) == 6
    assert stuck.done == []


def test_a_manifest_that_cannot_be_written_ends_everything():
    def report(source, entry):
        raise RecordingError("no space left")

    with pytest.raises(RecordingError, match="no space left"):
        Dispatch(SOURCES, 3, report).run([Seat(), Seat()])


def test_an_interruption_ends_the_workers():
    release = threading.Event()
    seat = Seat(lambda name: release.wait(30.0))
    seat.close = lambda: (release.set(), setattr(seat, "closed", True))
    work = Dispatch(SOURCES, 3, lambda *_: None)
    work._changed.wait = lambda timeout: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        work.run([seat])
    assert seat.closed
