"""Frames give way to who waits for a new prompt: for a moment, and not always."""

import threading
import time

import pytest

from rmpsam_ros.node.threads import right_of_way
from rmpsam_ros.node.threads.call_queue import BusyError, CallQueue, WaitedTooLongError
from rmpsam_ros.node.threads.right_of_way import RightOfWay
from rmpsam_ros.prompting.steps import Step


def waits(way):
    """Start a thread that gives way; whether it still waits can be asked."""
    thread = threading.Thread(target=way.give_way, daemon=True)
    thread.start()
    return thread


def test_nobody_waits_for_nobody():
    assert RightOfWay().give_way() == 0.0


def test_frames_wait_until_it_is_given_back(monkeypatch):
    monkeypatch.setattr(right_of_way, "MAX_WAIT", 60.0)
    way = RightOfWay()
    first, second = way.take(), way.take()
    thread = waits(way)
    first()
    first()  # again changes nothing
    thread.join(0.1)
    assert thread.is_alive()
    second()
    thread.join(10.0)
    assert not thread.is_alive()


def test_frames_do_not_wait_for_ever_nor_again_at_once(monkeypatch):
    monkeypatch.setattr(right_of_way, "MAX_WAIT", 0.05)
    monkeypatch.setattr(right_of_way, "REST", 1000.0)
    way = RightOfWay()
    way.take()
    assert way.give_way() >= 0.05
    assert way.give_way() == 0.0


def test_a_prompt_waits_for_the_frame_that_is_at_work():
    way, waited = RightOfWay(), []
    way.await_frame()  # there is none

    def wait():
        way.await_frame()
        waited.append(way._frame)

    with way.frame():
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(10.0)
    assert waited == [False]


def test_a_prompt_does_not_wait_for_a_frame_that_hangs_nor_while_frames_go_first(monkeypatch):
    monkeypatch.setattr(right_of_way, "FRAME_WAIT", 0.05)
    monkeypatch.setattr(right_of_way, "MAX_WAIT", 0.01)
    way = RightOfWay()
    with way.frame():
        way.await_frame()
    monkeypatch.setattr(right_of_way, "FRAME_WAIT", 60.0)
    monkeypatch.setattr(right_of_way, "REST", 1e6)
    way.take()
    way.give_way()
    with way.frame():
        way.await_frame()  # the next frame would follow at once


def test_a_frame_that_fails_is_over():
    way = RightOfWay()
    with pytest.raises(ValueError), way.frame():
        raise ValueError("of the test")
    way.await_frame()
    assert not way._frame


@pytest.fixture
def queue():
    """A queue of calls with a right of way, and a thread that works on them when it is told."""
    way = RightOfWay()
    made = CallQueue(threading.Condition(), 2, way)
    made.way = way
    return made


def call(queue, function, results):
    def run():
        try:
            results.append(queue.call("pipeline", function, 5.0))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not len(queue):
        time.sleep(0.001)
    return thread


def test_a_call_has_it_until_its_first_step_has_run(queue):
    def steps(pipeline):
        yield Step.PAUSE
        return "done"

    results = []
    thread = call(queue, steps, results)
    assert queue.way._waiting == 1
    queue.work_on_next()
    assert queue.way._waiting == 0, "the encoder has run; the rest takes turns with frames"
    queue.work_on_next()
    thread.join(5.0)
    assert results == ["done"] and queue.way._waiting == 0


@pytest.mark.parametrize("how", ["raises", "closed", "timeout"])
def test_however_a_call_ends_it_is_given_back(queue, how):
    def fail(pipeline):
        raise ValueError("of the test")

    if how == "timeout":
        with pytest.raises(WaitedTooLongError):
            queue.call("pipeline", fail, 0.01)
    else:
        results = []
        thread = call(queue, fail, results)
        queue.work_on_next() if how == "raises" else queue.close()
        thread.join(5.0)
        assert isinstance(results[0], Exception)
    assert queue.way._waiting == 0


def test_a_call_that_is_refused_never_has_it(queue):
    threads = [call(queue, lambda pipeline: None, []) for _ in range(2)]
    with pytest.raises(BusyError):
        queue.call("pipeline", lambda pipeline: None, 1.0)
    assert queue.way._waiting == 2
    queue.close()
    for thread in threads:
        thread.join(5.0)
    assert queue.way._waiting == 0
