"""One thread owns the pipeline: frames, calls, failures and the end."""

import threading
from types import SimpleNamespace

import pytest

from rmpsam_ros.node.threads.call_queue import BusyError, StoppedError, TookTooLongError
from rmpsam_ros.node.threads.frame_slot import FrameSlot
from rmpsam_ros.node.threads.inference_thread import InferenceThread

SOON = 30.0  # seconds that nothing here needs


class Pipeline:
    """Records which thread made it, used it and closed it."""

    def __init__(self):
        self.threads = [threading.current_thread()]
        self.together, self.passes, self.error = False, [], None
        self.closed = False

    def touch(self):
        self.threads.append(threading.current_thread())

    def close(self):
        self.touch()
        self.closed = True

    def infer(self, frames):
        self.passes.append(frames)
        if self.error:
            raise self.error
        return [f"output of {frame}" for frame in frames]


class Camera:
    """Collects the frames it was given; stops at each one until it is let go."""

    def __init__(self, work):
        self.slot = FrameSlot(work)
        self.done, self.bad = [], ()
        self.started = threading.Semaphore(0)
        self.go_on = threading.Semaphore(10**6)

    def begin(self, pipeline, frame):
        pipeline.touch()
        self.started.release()
        assert self.go_on.acquire(timeout=SOON)
        return (
            None
            if frame in self.bad
            else SimpleNamespace(pending=frame, together=pipeline.together)
        )

    def finish(self, pipeline, begun, output):
        self.done.append(begun.pending)
        self.output = output


class Rig:
    """An inference thread with cameras around it."""

    def __init__(self, cameras=1, max_waiting=4, create=Pipeline):
        self.work = threading.Condition()
        self.cameras = [Camera(self.work) for _ in range(cameras)]
        self.thread = InferenceThread(
            lambda: [create() for _ in self.cameras], self.cameras, self.work, max_waiting
        )

    @property
    def pipelines(self):
        return self.thread.wait_until_ready(SOON)

    def call(self, function, timeout=SOON, camera=0):
        return self.thread.calls.call(self.pipelines[camera], function, timeout)

    def hold(self):
        """Have the thread process a frame of the first camera until `go_on` is released."""
        self.cameras[0].go_on = threading.Semaphore(0)
        self.cameras[0].slot.offer("held")
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
    (pipeline,) = rig.pipelines
    rig.cameras[0].slot.offer("a")
    rig.call(lambda one: one.touch())
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
    assert [type(one) for one in rig.pipelines] == [Pipeline]
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
        make_rig().call(fail)
    with pytest.raises(TimeoutError, match="disk"):
        make_rig(create=fail).thread.wait_until_ready(SOON)


def test_a_call_that_takes_too_long_is_given_up(make_rig):
    rig, go_on = make_rig(), threading.Event()
    with pytest.raises(TookTooLongError, match=r"not finished within 0\.05 s"):
        rig.call(lambda _: go_on.wait(SOON), 0.05)
    go_on.set()
    assert rig.call(lambda _: "alive") == "alive"


def test_only_the_newest_frame_is_processed(make_rig):
    rig = make_rig()
    rig.hold()
    for frame in "abc":
        rig.cameras[0].slot.offer(frame)
    rig.let_go()
    assert rig.cameras[0].started.acquire(timeout=SOON)
    assert rig.thread.close(SOON)
    assert rig.cameras[0].done == ["held", "c"]


def test_a_fast_camera_does_not_keep_a_slow_one_waiting(make_rig):
    rig = make_rig(cameras=2)
    rig.hold()
    for number in range(10):
        rig.cameras[0].slot.offer(number)
    rig.cameras[1].slot.offer("slow")
    rig.let_go()
    assert rig.cameras[1].started.acquire(timeout=SOON)
    assert rig.thread.close(SOON)
    assert rig.cameras[1].done == ["slow"]


def test_two_fast_cameras_are_served_in_turn(make_rig):
    """However fast one sends, the other waits for one frame at most; and the newest is taken."""
    rig = make_rig(cameras=2)
    order = []
    for number, camera in enumerate(rig.cameras):

        def finish(pipeline, begun, output, number=number, slot=camera.slot):
            order.append((number, begun.pending))
            if len(order) < 20:
                for extra in range(3 if number == 0 else 1):  # the first is three times as fast
                    slot.offer(f"{len(order)} {extra}")

        camera.finish = finish
    rig.hold()
    rig.cameras[0].slot.offer("newest of the first")
    rig.cameras[1].slot.offer("first of the second")
    rig.let_go()
    with rig.work:
        assert rig.work.wait_for(lambda: len(order) >= 20, SOON)
    assert rig.thread.close(SOON)
    assert [number for number, _ in order[1:20]] == [1, 0] * 9 + [1]
    assert all(frame.endswith("2") for number, frame in order[4:] if number == 0)
    assert rig.cameras[0].slot.dropped >= 18


def test_waiting_frames_go_through_the_network_together_where_that_is_faster(make_rig):
    rig = make_rig(cameras=3)
    for pipeline in rig.pipelines:
        pipeline.together = True
    rig.hold()
    rig.cameras[2].bad = ("bad",)
    for camera, frame in zip(rig.cameras, ("a", "b", "bad"), strict=True):
        camera.slot.offer(frame)
    rig.let_go()
    for camera in rig.cameras[1:]:
        assert camera.started.acquire(timeout=SOON)
    rig.call(lambda _: None)
    assert [one.done for one in rig.cameras] == [["held", "a"], ["b"], []]
    assert rig.cameras[1].output == "output of b"
    passes = [sorted(one) for pipeline in rig.pipelines for one in pipeline.passes]
    # The frame that was held began before the others had come, but they came along.
    assert sum(map(len, passes)) == 3 and max(map(len, passes)) >= 2


def test_a_network_that_raises_fails_the_frames_and_nothing_else(make_rig):
    rig = make_rig(cameras=2)
    rig.pipelines[0].error = RuntimeError("out of memory")
    rig.cameras[0].slot.offer("a")
    rig.cameras[1].slot.offer("b")
    rig.call(lambda _: None)
    rig.call(lambda _: None)
    rig.call(lambda _: None)
    assert rig.cameras[0].output is rig.pipelines[0].error
    assert rig.cameras[1].output == "output of b"


def test_calls_return_and_raise_what_the_function_does(make_rig):
    rig = make_rig()
    assert rig.call(lambda pipeline: (pipeline.closed, 7)) == (False, 7)
    with pytest.raises(ZeroDivisionError):
        rig.call(lambda pipeline: 1 / 0)
    assert rig.call(lambda pipeline: "alive") == "alive"


def test_calls_come_before_the_next_frame(make_rig):
    rig = make_rig()
    rig.hold()
    rig.cameras[0].slot.offer("next")
    join = in_background(lambda: rig.call(lambda _: list(rig.cameras[0].done)))
    with rig.work:
        rig.work.wait_for(lambda: rig.thread.calls, SOON)
    rig.let_go()
    assert join() == ["held"]


def test_calls_and_frames_have_their_turn_between_the_steps_of_a_call(make_rig):
    rig, order = make_rig(), []

    def long(_):
        for step in range(3):
            order.append(step)
            if step == 0:
                rig.cameras[0].slot.offer("frame")
                join.append(in_background(lambda: rig.call(lambda _: order.append("call"))))
                wait_for_calls(rig, 1)
            yield
        order.append(list(rig.cameras[0].done))
        return "result"

    join = []
    assert rig.call(long) == "result"
    assert join[0]() is None
    assert order == [0, "call", 1, 2, ["frame"]]


def test_what_a_step_raises_reaches_who_waits(make_rig):
    rig = make_rig()

    def fail(_):
        yield
        raise KeyError("step")

    with pytest.raises(KeyError, match="step"):
        rig.call(fail)
    assert rig.call(lambda _: "alive") == "alive"


def test_steps_end_when_nobody_waits_for_them_any_more(make_rig):
    rig, ended = make_rig(max_waiting=1), threading.Event()

    def endless(_):
        try:
            while True:
                yield
        finally:
            ended.set()

    with pytest.raises(TookTooLongError):
        rig.call(endless, 0.05)
    assert ended.wait(SOON)
    with rig.work:
        assert rig.work.wait_for(lambda: not rig.thread.calls._pending.total(), SOON)
    assert rig.call(lambda _: "its place is free") == "its place is free"


def test_closing_ends_a_call_between_two_steps(make_rig):
    rig, begun = make_rig(), threading.Event()

    def endless(_):
        while True:
            begun.set()
            yield

    join = in_background(lambda: rig.call(endless))
    assert begun.wait(SOON)
    assert rig.thread.close(SOON)
    assert isinstance(join(), StoppedError)


def wait_for_calls(rig, number):
    with rig.work:
        assert rig.work.wait_for(lambda: len(rig.thread.calls) == number, SOON)


def test_too_many_waiting_calls_are_refused_at_once(make_rig):
    rig = make_rig(max_waiting=2)
    rig.hold()
    joins = [in_background(lambda: rig.call(lambda _: "done")) for _ in range(2)]
    wait_for_calls(rig, 2)
    with pytest.raises(BusyError, match="2 requests are waiting"):
        rig.call(lambda _: "never")
    rig.let_go()
    assert [join() for join in joins] == ["done", "done"]


def test_the_calls_of_one_camera_do_not_shut_out_another(make_rig):
    rig = make_rig(cameras=2, max_waiting=1)
    rig.hold()
    join = in_background(lambda: rig.call(lambda _: "first"))
    wait_for_calls(rig, 1)
    with pytest.raises(BusyError):
        rig.call(lambda _: "never")
    other = in_background(lambda: rig.call(lambda pipeline: pipeline, camera=1))
    wait_for_calls(rig, 2)
    rig.let_go()
    assert join() == "first"
    assert other() is rig.pipelines[1]


def test_a_call_that_is_not_worked_on_in_time_is_given_up(make_rig):
    rig, ran = make_rig(max_waiting=1), []
    rig.hold()
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        rig.call(lambda _: ran.append("late"), 0.05)
    join = in_background(lambda: rig.call(lambda _: "its place is free"))
    wait_for_calls(rig, 1)
    rig.let_go()
    assert join() == "its place is free"
    assert not ran


def test_closing_cancels_what_waits_and_ends_the_thread(make_rig):
    rig = make_rig()
    rig.hold()
    join = in_background(lambda: rig.call(lambda _: "never"))
    wait_for_calls(rig, 1)
    assert not rig.thread.close(0.01), "a frame is being processed"
    assert isinstance(join(), StoppedError)
    rig.let_go()
    assert rig.thread.close(SOON)
    with pytest.raises(StoppedError):
        rig.call(lambda _: "never")
