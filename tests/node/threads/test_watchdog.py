"""A network that hangs, or a thread that has ended, is seen, said, and survived."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

import threading

from rclpy.logging import get_logger

from rmpsam_ros.msg import PromptPoint
from rmpsam_ros.node.status import Level, Status
from rmpsam_ros.node.threads.call_queue import CallQueue
from rmpsam_ros.node.threads.inference_thread import InferenceThread
from rmpsam_ros.node.threads.prompt_thread import PromptThread
from rmpsam_ros.node.threads.watchdog import Watchdog
from rmpsam_ros.srv import AddPrompt

STALL = {"stall_timeout": 0.3, "prompt_timeout": 60.0}


@pytest.fixture
def ask(listener):
    """Ask for the object in the middle of the newest image, in the background."""

    def begin():
        request = AddPrompt.Request(points=[PromptPoint(x=5.0, y=3.0, label=1)], track=True)
        answers = []

        def call():
            answers.append(listener.call(AddPrompt, "/rmpsam/add_prompt", request))

        thread = threading.Thread(target=call, daemon=True)
        thread.start()

        def join():
            thread.join(60.0)
            return answers[0]

        return join

    return begin


@pytest.fixture
def hang(feed, make_image):
    """Have a pipeline hang in the middle of a frame of a node."""

    def begin(node, pipeline, stamp):
        pipeline.gate.clear()
        feed(node, make_image(stamp))
        assert pipeline.entered.acquire(timeout=60.0)

    return begin


def test_a_network_that_hangs_is_an_error_and_requests_are_answered(
    make_node, fake_pipeline, hang, ask, wait_for, wait_for_status
):
    node = make_node(**STALL)
    wait_for(lambda: node.cameras[0].active, "the active state")
    hang(node, fake_pipeline, 1.0)
    join = ask()
    status = wait_for_status("network", {2}, "'inference' has worked on one thing for")
    assert "deactivate, cleanup, configure, activate" in status.message
    answer = join()
    assert answer.code == AddPrompt.Response.INTERNAL_ERROR
    assert "has worked on one thing" in answer.message
    fake_pipeline.gate.set()
    wait_for_status("network", {0}, "fake weights")


def test_a_network_that_hangs_is_replaced_by_the_life_cycle(
    make_node, make_pipeline, hang, feed, make_image, change_state, wait_for, wait_for_status
):
    first, second = make_pipeline(), make_pipeline()
    pipelines = iter((first, second))
    node = make_node(lambda settings, progress: next(pipelines), **STALL)
    wait_for(lambda: node.cameras[0].active, "the active state")
    hang(node, first, 1.0)
    wait_for_status("network", {2}, "has worked on one thing")
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert change_state(transition)
    wait_for_status("network", {0}, "fake weights")
    feed(node, make_image(2.0))
    wait_for(lambda: second.stamps == [2.0], "an image of the new network")


def test_a_prompt_engine_that_hangs_is_replaced_and_its_network_left_open(
    make_node, make_pipeline, feed, make_image, ask, change_state, wait_for, wait_for_status
):
    first, second = make_pipeline(), make_pipeline()
    for pipeline in (first, second):
        pipeline.prompt_engine.runs_beside = True
    pipelines = iter((first, second))
    node = make_node(
        lambda settings, progress: next(pipelines), stall_timeout=0.3, prompt_timeout=3.0
    )
    wait_for(lambda: node.cameras[0].active, "the active state")
    feed(node, make_image(1.0))
    wait_for(lambda: first.stamps, "an image")
    first.prompt_engine.gate.clear()
    join = ask()
    wait_for_status("network", {2}, "'prompts' has worked on one thing")
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert change_state(transition)
    wait_for_status("network", {0}, "fake weights")
    assert join().code == AddPrompt.Response.NOT_ACTIVE
    assert not first.closed, "the prompt engine may still use it"
    feed(node, make_image(2.0))
    wait_for(lambda: second.stamps == [2.0], "an image of the new network")


@pytest.mark.parametrize(
    ("seconds", "hangs"),
    [(0.9, ()), (1.1, ("inference",)), (2.9, ("inference",)), (3.1, ("inference", "prompts"))],
)
def test_a_thread_of_low_priority_is_given_the_time_that_others_leave_it(
    live_settings, seconds, hangs
):
    class Busy:
        has_ended, busy_for = False, seconds

        def __init__(self, name, kind):
            self.name, self.patience = name, kind.patience

    for busy in (Busy("inference", InferenceThread), Busy("prompts", PromptThread)):
        status = Watchdog(
            live_settings(stall_timeout=1.0),
            lambda busy=busy: [(busy, CallQueue(threading.Condition(), 1))],
            get_logger("watchdog"),
            "/rmpsam",
        ).check(Status("network", Level.OK, "fine"))
        assert (status.level is Level.ERROR) == (busy.name in hangs), busy.name


def test_a_thread_that_has_ended_is_an_error_and_requests_are_refused(
    make_node, fake_pipeline, feed, make_image, ask, wait_for, wait_for_status, monkeypatch
):
    node = make_node(**STALL)
    wait_for(lambda: node.cameras[0].active, "the active state")

    def end(*_):
        raise SystemExit("the driver gave up")

    monkeypatch.setattr(fake_pipeline, "infer", end)
    feed(node, make_image(1.0))
    wait_for_status("network", {2}, "'inference' has ended: SystemExit: the driver gave up")
    assert ask()().code == AddPrompt.Response.NOT_ACTIVE
