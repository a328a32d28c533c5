"""Threads that come after the others of the process on a full CPU."""

import os
import sys
import threading
from pathlib import Path

import pytest

from rmpsam_ros.runtime.priority import NICENESS, yield_to_frames

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux knows priorities of threads"
)


def niceness_of(thread):
    # The 19th field; the second, the name in brackets, may hold spaces.
    fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    return int(fields[16])


def test_the_thread_and_what_it_starts_yield_and_nobody_else():
    own = niceness_of(threading.get_native_id())
    found = []

    def note():
        found.append(niceness_of(threading.get_native_id()))

    def yielding():
        yield_to_frames()
        note()
        child = threading.Thread(target=note)
        child.start()
        child.join()

    thread = threading.Thread(target=yielding)
    thread.start()
    thread.join()
    expected = min(own + NICENESS, 19)
    assert found == [expected, expected]
    assert niceness_of(threading.get_native_id()) == own


def test_where_priorities_are_not_known_nothing_happens(monkeypatch):
    monkeypatch.delattr(os, "setpriority")
    yield_to_frames()
