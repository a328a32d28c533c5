"""Masks of everything by action: told as they are found, canceled, one result for every goal."""

import threading
import time
from collections import Counter

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.action", reason="needs the built package (make build)")

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from rmpsam_ros import srv
from rmpsam_ros.action import SegmentEverything
from rmpsam_ros.node.prompts.requests import Code
from rmpsam_ros.prompting import EverythingFound
from rmpsam_ros.prompting.steps import Step
from rmpsam_ros.runtime import EngineError

NAME = "/rmpsam/segment_everything"
ABORTED, CANCELED = GoalStatus.STATUS_ABORTED, GoalStatus.STATUS_CANCELED
SUCCEEDED = GoalStatus.STATUS_SUCCEEDED


@pytest.fixture
def send(listener):
    return lambda **fields: listener.send_goal(
        SegmentEverything, NAME, SegmentEverything.Goal(**fields)
    )


def test_an_action_has_the_codes_of_its_service():
    own, service = SegmentEverything.Result, srv.SegmentEverything.Response
    names = [name for name in Code.__members__ if hasattr(service, name)]
    assert [getattr(own, name) for name in names] == [Code[name] for name in names]
    assert not [name for name in Code.__members__ if hasattr(own, name) != hasattr(service, name)]


@pytest.mark.parametrize("points_per_side", [0, 4])
def test_masks_are_told_and_the_result_is_that_of_the_service(
    camera, beside, ask, send, fake_pipeline, wait_for, points_per_side
):
    fields = {"stamp": Time(sec=2), "points_per_side": points_per_side}
    goal = send(**fields)
    status, result = goal.result()
    assert (status, result.code, result.message, result.complete) == (SUCCEEDED, Code.OK, "", True)
    answer = ask(srv.SegmentEverything, **fields)
    assert (result.header, result.masks) == (answer.header, answer.masks)
    assert len(result.masks) == 1
    wait_for(lambda: goal.told and goal.told[-1].done == goal.told[-1].total, "the last step")
    expected = [4, 8, 12, 16] if points_per_side else [1]
    assert [one.done for one in goal.told] == expected
    assert {one.total for one in goal.told} == {expected[-1]}
    assert [list(one.masks) for one in goal.told] == [list(result.masks)] + [[]] * (
        len(expected) - 1
    )
    assert all(one.header == Header(stamp=Time(sec=2), frame_id="camera 2") for one in goal.told)
    assert fake_pipeline.prompt_engine.threads == {"prompts" if beside else "inference"}


def test_a_canceled_goal_stops_the_work_and_gives_what_there_is(start, ask, send, fake_pipeline):
    engine = fake_pipeline.prompt_engine
    engine.runs_beside = True
    start().frame(1.0)
    engine.gate.clear()
    goal = send(points_per_side=40)
    assert engine.entered.acquire(timeout=60.0), "the first of 40 steps has begun"
    goal.cancel()
    assert not goal.is_done
    engine.gate.set()
    status, result = goal.result()
    assert (status, result.code, result.complete) == (CANCELED, Code.OK, False)
    assert "canceled" in result.message and len(result.masks) == 1
    assert not engine.entered.acquire(blocking=False), "no second step"
    assert ask().code == Code.OK
    assert ask(srv.SegmentEverything).code == Code.OK, "the next one is not refused"


def test_a_goal_that_is_canceled_while_it_waits_costs_nothing(start, ask, send, fake_pipeline):
    engine = fake_pipeline.prompt_engine
    engine.runs_beside = True
    start().frame(1.0)
    engine.gate.clear()
    click = threading.Thread(target=ask)
    click.start()
    assert engine.entered.acquire(timeout=60.0)
    goal = send(points_per_side=3)
    goal.cancel()
    engine.gate.set()
    click.join(60.0)
    status, result = goal.result()
    assert (status, result.code, result.masks, result.complete) == (CANCELED, Code.OK, [], False)
    assert not goal.told and not engine.entered.acquire(blocking=False)


REFUSED = {
    "grid": ({"points_per_side": 65}, Code.INVALID_REQUEST, "points_per_side is 65"),
    "stamp": ({"stamp": Time(sec=9)}, Code.FRAME_NOT_KEPT, "9.000000 s is not kept"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_aborted_with_a_code_and_a_reason(camera, send, name):
    fields, code, reason = REFUSED[name]
    status, result = send(**fields).result()
    assert (status, result.code, result.complete) == (ABORTED, code, False)
    assert reason in result.message and not result.masks


def test_before_any_image_and_while_not_active(start, send, change_state):
    start()
    assert send().result()[1].code == Code.NO_FRAME
    assert change_state("deactivate")
    status, result = send().result()
    assert (status, result.code) == (ABORTED, Code.NOT_ACTIVE) and "activate" in result.message


def test_a_failing_engine_is_a_result(camera, send, fake_pipeline, monkeypatch):
    def fail(frame, boxes):
        raise EngineError("out of memory")

    monkeypatch.setattr(fake_pipeline.prompt_engine, "in_boxes", fail)
    status, result = send().result()
    assert (status, result.code, result.message) == (ABORTED, Code.INTERNAL_ERROR, "out of memory")
    monkeypatch.undo()
    assert send().result()[0] == SUCCEEDED


def test_of_many_goals_in_one_moment_one_runs_and_all_have_a_result(
    start, ask, send, fake_pipeline
):
    """More than a service keeps by default; the request of a service is one of the many, too."""
    engine = fake_pipeline.prompt_engine
    engine.runs_beside = True
    start().frame(1.0)
    engine.gate.clear()
    first = send(points_per_side=2)
    assert engine.entered.acquire(timeout=60.0)
    others = [send(points_per_side=2) for _ in range(30)]
    codes = Counter((status, result.code) for status, result in (one.result() for one in others))
    assert codes == {(ABORTED, Code.BUSY): 30}
    refused = ask(srv.SegmentEverything)
    assert refused.code == Code.BUSY and "already" in refused.message
    engine.gate.set()
    assert first.result()[0] == SUCCEEDED
    assert ask().code == Code.OK


@pytest.mark.parametrize("ends", [True, False])
def test_a_goal_that_runs_when_the_network_is_unloaded_has_a_result(
    start, send, fake_pipeline, wait_for, ends
):
    """Also when the step that it is at does not end before the process does."""
    engine = fake_pipeline.prompt_engine
    engine.runs_beside = True
    camera = start()
    camera.frame(1.0)
    engine.gate.clear()
    goal = send(points_per_side=9)
    assert engine.entered.acquire(timeout=60.0)
    closer = threading.Thread(target=camera.node._release, args=(30.0 if ends else 0.2,))
    closer.start()
    wait_for(lambda: camera.node._prompt_thread.calls.closed, "the end")
    if ends:
        engine.gate.set()
    status, result = goal.result()
    assert (status, result.code) == (ABORTED, Code.NOT_ACTIVE)
    closer.join(60.0)
    assert not engine.entered.acquire(blocking=False), "no second step"


def test_the_work_is_bounded_as_that_of_the_service(camera, send, monkeypatch):
    asked = []

    def steps(stamp, points_per_side, until, report, cancelled):
        asked.append(until - time.monotonic())
        yield Step.PAUSE
        return EverythingFound((), False, 1.0)

    monkeypatch.setattr(camera.node._pipelines[0].prompts, "everything_steps", steps)
    status, result = send().result()
    assert (status, result.code, result.complete) == (SUCCEEDED, Code.OK, False)
    assert "ended after 5 s (half of prompt_timeout)" in result.message
    assert 3.0 < asked[0] <= 5.0
