"""One thread owns the pipeline: frames, calls, failures and the end."""

import threading

import pytest

from rmpsam_ros.node.call_queue import BusyError, StoppedError
from rmpsam_ros.node.frame_slot import FrameSlot
from rmpsam_ros.node.inference_thread import InferenceThread

SOON = 30.0  # seconds that nothing here needs


class Pipeline:
    """Records which thread made it, used it and closed it."""

    def __init__(self):
        self.threads = [threading.current_thread()]
        self.closed = False

    def touch(self):
        self.threads.append(threading.current_thread())

    def close(self):
        self.touch()
        self.closed = True


class Camera:
    """Collects the frames it was given; stops at each one until it is let go."""

    def __init__(self, work):
        self.slot = FrameSlot(work)
        self.done = []
        self.started = threading.Semaphore(0)
        self.go_on = threading.Semaphore(10**6)

    def process(self, pipeline, frame):
        pipeline.touch()
        self.started.release()
        assert self.go_on.acquire(timeout=SOON)
        self.done.append(frame)


class Rig:
    """An inference thread with cameras around it."""

    def __init__(self, cameras=1, max_waiting=4, create=Pipeline):
        self.work = threading.Condition()
        self.cameras = [Camera(self.work) for _ in range(cameras)]
        self.thread = InferenceThread(create, self.cameras, self.work, max_waiting)

    def hold(self):
        """Have the thread process a frame of the first camera until `go_on` is released."""
        self.cameras[0].go_on = threading.Semaphore(0)
        self.cameras[0].slot.put("held")
        assert self.cameras[0].started.acquire(timeout=SOON)

    def let_go(self):
        self.cameras[0].go_on.release(10**6)


@pytest.fixture
def make_rig():
    rigs = []

    def make(**options):
        rigs.append(Rig(**options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.let_go()
        assert rig.thread.close(SOON)


def in_background(function):
    """Run a function in a thread; join() gives what it returned or raised."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join():
        thread.join(SOON)
        assert outcome, "still running"
        return outcome[0]

    return join


def test_one_thread_makes_uses_and_closes_the_pipeline(make_rig):
    rig = make_rig()
    pipeline = rig.thread.wait_until_ready(SOON)
    rig.cameras[0].slot.put("a")
    rig.thread.call(lambda one: one.touch(), SOON)
    assert rig.cameras[0].started.acquire(timeout=SOON)
    assert rig.thread.close(SOON)
    assert pipeline.closed
    assert len(pipeline.threads) == 4
    assert set(pipeline.threads) - {threading.current_thread()} == {pipeline.threads[0]}


def test_not_ready_yet_is_none():
    go_on = threading.Event()

    def create():
        assert go_on.wait(SOON)
        return Pipeline()

    rig = Rig(create=create)
    assert rig.thread.wait_until_ready(0.01) is None
    go_on.set()
    assert isinstance(rig.thread.wait_until_ready(SOON), Pipeline)
    assert rig.thread.close(SOON)


def test_what_creation_raises_reaches_who_waits(make_rig):
    def create():
        raise ValueError("no such file")

    rig = make_rig(create=create)
    with pytest.raises(ValueError, match="no such file"):
        rig.thread.wait_until_ready(SOON)


def test_a_timeout_of_the_function_is_not_ours(make_rig):
    def fail(*_):
        raise TimeoutError("disk does not answer")

    with pytest.raises(TimeoutError, match="disk"):
        make_rig().thread.call(fail, SOON)
    with pytest.raises(TimeoutError, match="disk"):
        make_rig(create=fail).thread.wait_until_ready(SOON)


def test_a_call_that_takes_too_long_is_given_up(make_rig):
    rig, go_on = make_rig(), threading.Event()
    with pytest.raises(TimeoutError, match="of work"):
        rig.thread.call(lambda _: go_on.wait(SOON), 0.05)
    go_on.set()
    assert rig.thread.call(lambda _: "alive", SOON) == "alive"


def test_only_the_newest_frame_is_processed(make_rig):
    rig = make_rig()
    rig.hold()
    for frame in "abc":
        rig.cameras[0].slot.put(frame)
    rig.let_go()
    assert rig.cameras[0].started.acquire(timeout=SOON)
    assert rig.thread.close(SOON)
    assert rig.cameras[0].done == ["held", "c"]


def test_a_fast_camera_does_not_keep_a_slow_one_waiting(make_rig):
    rig = make_rig(cameras=2)
    rig.hold()
    for number in range(10):
        rig.cameras[0].slot.put(number)
    rig.cameras[1].slot.put("slow")
    rig.let_go()
    assert rig.cameras[1].started.acquire(timeout=SOON)
    assert rig.thread.close(SOON)
    assert rig.cameras[1].done == ["slow"]


def test_calls_return_and_raise_what_the_function_does(make_rig):
    rig = make_rig()
    assert rig.thread.call(lambda pipeline: (pipeline.closed, 7), SOON) == (False, 7)
    with pytest.raises(ZeroDivisionError):
        rig.thread.call(lambda pipeline: 1 / 0, SOON)
    assert rig.thread.call(lambda pipeline: "alive", SOON) == "alive"


def test_calls_come_before_the_next_frame(make_rig):
    rig = make_rig()
    rig.hold()
    rig.cameras[0].slot.put("next")
    join = in_background(lambda: rig.thread.call(lambda _: list(rig.cameras[0].done), SOON))
    with rig.work:
        rig.work.wait_for(lambda: rig.thread._calls, SOON)
    rig.let_go()
    assert join() == ["held"]


def wait_for_calls(rig, number):
    with rig.work:
        assert rig.work.wait_for(lambda: len(rig.thread._calls) == number, SOON)


def test_too_many_waiting_calls_are_refused_at_once(make_rig):
    rig = make_rig(max_waiting=2)
    rig.hold()
    joins = [in_background(lambda: rig.thread.call(lambda _: "done", SOON)) for _ in range(2)]
    wait_for_calls(rig, 2)
    with pytest.raises(BusyError, match="2 requests are waiting"):
        rig.thread.call(lambda _: "never", SOON)
    rig.let_go()
    assert [join() for join in joins] == ["done", "done"]


def test_a_call_that_is_not_worked_on_in_time_is_given_up(make_rig):
    rig, ran = make_rig(max_waiting=1), []
    rig.hold()
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        rig.thread.call(lambda _: ran.append("late"), 0.05)
    join = in_background(lambda: rig.thread.call(lambda _: "its place is free", SOON))
    wait_for_calls(rig, 1)
    rig.let_go()
    assert join() == "its place is free"
    assert not ran


def test_closing_cancels_what_waits_and_ends_the_thread(make_rig):
    rig = make_rig()
    rig.hold()
    join = in_background(lambda: rig.thread.call(lambda _: "never", SOON))
    wait_for_calls(rig, 1)
    assert not rig.thread.close(0.01), "a frame is being processed"
    assert isinstance(join(), StoppedError)
    rig.let_go()
    assert rig.thread.close(SOON)
    with pytest.raises(StoppedError):
        rig.thread.call(lambda _: "never", SOON)
