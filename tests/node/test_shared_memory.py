"""Shared memory that killed processes left behind is found; that of living ones is not."""

import fcntl
import os
import signal
import time

import pytest

from rmpsam_ros.node import shared_memory
from rmpsam_ros.node.shared_memory import Leftovers, leftovers, problems


@pytest.fixture
def segment(tmp_path):
    """Make a segment with its lock file, ten minutes old."""

    def make(name="fastrtps_0b763f2f8f3806ec", size=1_000_000, age=600.0):
        path, lock = tmp_path / name, tmp_path / f"{name}_el"
        path.write_bytes(bytes(size))
        lock.touch()
        os.utime(path, (time.time() - age,) * 2)
        return lock

    return make


def test_segments_without_an_owner_are_counted(segment, tmp_path):
    segment()
    segment("fastrtps_1111111111111111", 2_000_000)
    segment("fastrtps_port7000")
    segment("other_0b763f2f8f3806ec")
    assert leftovers(tmp_path) == Leftovers(2, 3_000_000)
    (line,) = [line for line in problems(tmp_path) if "killed" in line]
    assert "2 segments of killed processes take 3 MB" in line and "fastdds shm clean" in line


def test_a_living_owner_and_a_new_segment_are_left_alone(segment, tmp_path):
    segment("fastrtps_2222222222222222", age=0.0)
    with segment().open("r+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        assert leftovers(tmp_path) == Leftovers(0, 0)
    assert leftovers(tmp_path).number == 1


def test_a_small_folder_is_named(tmp_path, monkeypatch):
    assert problems(tmp_path) == []
    monkeypatch.setattr(shared_memory, "ROOM", 2**62)
    (line,) = problems(tmp_path)
    assert "--shm-size=256m" in line
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    assert problems(tmp_path) == []


def test_without_the_folder_there_is_nothing_to_say(tmp_path):
    assert problems(tmp_path / "none") == []


def test_what_a_killed_camera_leaves_is_found(start_program, wait_for, tmp_path, monkeypatch):
    import cv2
    import numpy as np

    if not shared_memory.FOLDER.is_dir():
        pytest.skip("there is no /dev/shm")
    monkeypatch.setattr(shared_memory, "_MIN_AGE", -1.0)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    before = set(os.listdir(shared_memory.FOLDER))
    program = start_program("camera_source", {"source": str(tmp_path / "a.png"), "loop": True})
    wait_for(lambda: "images per second" in program.log, "the camera")
    new = set(os.listdir(shared_memory.FOLDER)) - before
    mine = {name for name in new if shared_memory._SEGMENT.match(name)}
    if not mine:
        pytest.skip("this middleware uses no segments in /dev/shm")
    free = lambda: {  # noqa: E731
        name for name in mine
        if shared_memory._is_free(shared_memory.FOLDER / f"{name}_el")
    }  # fmt: skip
    assert not free()
    program.process.send_signal(signal.SIGKILL)
    program.process.wait()
    left = free()
    assert left, "what it left is found"
    assert leftovers().number >= len(left)
    for name in left:  # others may have begun meanwhile
        for path in (shared_memory.FOLDER / name, shared_memory.FOLDER / f"{name}_el"):
            path.unlink(missing_ok=True)
