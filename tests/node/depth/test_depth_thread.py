"""Which result meets which depth image, and when: late, missing, too many, failing."""

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rmpsam_ros.node.depth import depth_thread
from rmpsam_ros.node.depth.depth_thread import MAX_WAITING, DepthThread
from rmpsam_ros.node.depth.matching import StampMatcher
from rmpsam_ros.node.results.processed_frame import ProcessedFrame

MS = 1_000_000


class Harness:
    """A thread whose work, misses and errors are lists; the gate holds its work up."""

    def __init__(self, settings):
        work = threading.Condition()
        self.matcher = StampMatcher(work, settings)
        self.used, self.missing, self.errors = [], [], []
        self.gate, self.error = threading.Event(), None
        self.gate.set()
        self.thread = DepthThread(
            work,
            self.matcher,
            self.use,
            lambda job: self.missing.append(job.stamp // MS),
            self.errors.append,
        )

    def use(self, job, match):
        assert self.gate.wait(30.0)
        if self.error is not None:
            raise self.error
        self.used.append((job.stamp // MS, match.item))

    def result(self, stamp):
        self.thread.submit(ProcessedFrame(None, stamp * MS, None, None, None))

    def depth(self, stamp):
        self.matcher.keep(stamp * MS, f"depth {stamp}")


@pytest.fixture
def harness(live_settings):
    one = Harness(live_settings(depth_tolerance=0.02))
    yield one
    one.gate.set()
    one.thread.close(10.0)
    assert not one.thread._thread.is_alive()


@pytest.fixture
def patience(monkeypatch):
    monkeypatch.setattr(depth_thread, "MAX_WAIT", 0.2)


def test_depth_that_is_there_is_used_at_once(harness, wait_for):
    harness.depth(100)
    harness.result(100)
    wait_for(lambda: harness.used == [(100, "depth 100")])


def test_a_result_waits_for_depth_that_comes_late(harness, wait_for):
    harness.result(100)
    time.sleep(0.1)
    assert not harness.used
    harness.depth(100)
    wait_for(lambda: harness.used == [(100, "depth 100")])


def test_depth_one_frame_late_leaves_no_result_without(harness, wait_for):
    """Each depth comes only after the next result: newest-wins alone would never match."""
    harness.result(0)
    for stamp in range(33, 660, 33):
        harness.result(stamp)
        harness.depth(stamp - 33)
        wait_for(lambda stamp=stamp: (stamp - 33, f"depth {stamp - 33}") in harness.used)


def test_depth_many_frames_late_is_still_used(harness, wait_for):
    """More results come in the meantime than may wait: then the older ones stay."""
    late = 3 * MAX_WAITING * 33
    for stamp in range(0, 100 * 33, 33):
        harness.result(stamp)
        if stamp >= late:
            harness.depth(stamp - late)
            time.sleep(0.002)
    wait_for(lambda: len(harness.used) >= 20)
    assert all(item == f"depth {stamp}" for stamp, item in harness.used)


def test_while_work_takes_long_newer_results_replace_older_ones(harness, wait_for):
    harness.gate.clear()
    harness.depth(0)
    harness.result(0)
    wait_for(lambda: not harness.thread._waiting)
    for stamp in range(33, 33 * 20, 33):
        harness.depth(stamp)
        harness.result(stamp)
    assert len(harness.thread._waiting) == MAX_WAITING
    harness.gate.set()
    wait_for(lambda: harness.used[-1:] == [(33 * 19, f"depth {33 * 19}")])


def test_the_newest_result_with_depth_is_taken_and_older_ones_dropped(harness, wait_for):
    harness.gate.clear()
    harness.depth(0)
    harness.result(0)
    wait_for(lambda: not harness.thread._waiting)
    for stamp in (100, 200, 300):
        harness.result(stamp)
        harness.depth(stamp)
    harness.gate.set()
    wait_for(lambda: len(harness.used) == 2)
    assert harness.used == [(0, "depth 0"), (300, "depth 300")]
    time.sleep(0.05)
    assert len(harness.used) == 2


def test_a_result_with_depth_goes_before_a_newer_one_without(harness, wait_for):
    harness.gate.clear()
    harness.depth(0)
    harness.result(0)
    wait_for(lambda: not harness.thread._waiting)
    harness.depth(100)
    harness.result(100)
    harness.result(150)
    harness.depth(400)  # for 150 there is none, and none will come
    harness.gate.set()
    wait_for(lambda: harness.missing == [150])
    assert harness.used == [(0, "depth 0"), (100, "depth 100")]


def test_without_depth_a_result_is_missing_after_a_while(patience, harness, wait_for):
    harness.result(100)
    assert not harness.missing
    wait_for(lambda: harness.missing == [100])


def test_an_earlier_depth_within_the_tolerance_is_used_when_no_later_one_comes(
    patience, harness, wait_for
):
    harness.depth(85)
    harness.result(100)
    wait_for(lambda: harness.used == [(100, "depth 85")])


def test_a_gap_in_depth_is_known_at_once(harness, wait_for):
    harness.depth(0)
    harness.result(100)
    harness.depth(200)
    wait_for(lambda: harness.missing == [100])


def test_what_waits_is_bounded(harness):
    for stamp in range(1000):
        harness.result(1000 + stamp)
    assert len(harness.thread._waiting) == MAX_WAITING


def test_an_error_ends_nothing(harness, wait_for):
    harness.error = RuntimeError("no")
    harness.depth(100)
    harness.result(100)
    wait_for(lambda: harness.errors == [harness.error])
    harness.error = None
    harness.depth(200)
    harness.result(200)
    wait_for(lambda: harness.used == [(200, "depth 200")])


def test_cleared_results_are_forgotten(harness):
    harness.result(100)
    harness.thread.clear()
    harness.depth(100)
    time.sleep(0.05)
    assert not harness.used and not harness.missing
