"""Everything around prompts in this process: exact frames, following, limits, threads."""

import threading
import time
from collections import Counter

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.srv", reason="needs the built package (make build)")

from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from rmpsam_ros import srv
from rmpsam_ros.msg import PromptedMask, PromptedMaskArray, PromptPoint
from rmpsam_ros.node.prompts.requests import Code
from rmpsam_ros.node.threads import right_of_way
from rmpsam_ros.prompting import EverythingFound
from rmpsam_ros.prompting.steps import Step
from rmpsam_ros.srv import AddPrompt, ClearPrompts, ListPrompts, RemovePrompt, SegmentEverything

SERVICES = (AddPrompt, RemovePrompt, ListPrompts, ClearPrompts, SegmentEverything)


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.__name__)
def test_codes_mean_the_same_in_every_service(service):
    names = [name for name in Code.__members__ if hasattr(service.Response, name)]
    assert {"OK", "NOT_ACTIVE", "INTERNAL_ERROR"} <= set(names)
    for name in names:
        assert getattr(service.Response, name) == Code[name]


def test_a_prompt_is_answered_on_the_image_that_was_seen(camera, ask):
    for stamp in (1, 3, 2):
        answer = ask(stamp=Time(sec=stamp))
        assert (answer.code, answer.message) == (Code.OK, "")
        assert answer.header == Header(stamp=Time(sec=stamp), frame_id=f"camera {stamp}")
        assert answer.mask.stamp == answer.header.stamp
    assert ask().header.stamp == Time(sec=3)


def test_the_refusal_names_the_window(camera, ask):
    for stamp in (4.0, 5.0, 6.5):
        camera.frame(stamp)
    answer = ask(stamp=Time(sec=1))
    assert answer.code == Code.FRAME_NOT_KEPT
    for words in ("1.000000 s is not kept", "from 2.000000 to 6.500000 s", "keep_seconds (5)"):
        assert words in answer.message


def test_a_stamp_that_differs_by_less_than_seconds_can_tell_is_refused(start, ask):
    camera = start()
    camera.node.cameras[0].headers.remember(1.7e9 + 1e-9, Header(stamp=Time(sec=1_700_000_000)))
    answer = ask(stamp=Time(sec=1_700_000_000, nanosec=1))
    assert answer.code == Code.FRAME_NOT_KEPT
    assert "1700000000.000000001 s is not kept" in answer.message


def test_the_right_thread_answers(camera, ask, beside, fake_pipeline):
    assert ask(track=True).code == Code.OK
    camera.frame(4.0)
    assert fake_pipeline.prompt_engine.threads == {"prompts" if beside else "inference"}


def test_a_followed_object_is_on_the_topic_for_every_image_until_it_is_removed(
    camera, ask, listener, fake_pipeline, wait_for, beside
):
    received = listener.subscribe(PromptedMaskArray, "/rmpsam/prompted_masks")
    wait_for(
        camera.node.cameras[0].publishers._prompted.get_subscription_count, "the subscription"
    )
    camera.frame(4.0)
    assert ask(object_id="cup", track=True, stamp=Time(sec=2)).code == Code.OK
    for stamp in (5.0, 6.0, 7.0):
        camera.frame(stamp)
    wait_for(lambda: len(received) == 3, "a message for each image since the prompt")
    for message, stamp in zip(received, (5, 6, 7), strict=True):
        (mask,) = message.masks
        assert (mask.object_id, mask.state, mask.score) == ("cup", PromptedMask.TRACKED, 0.5)
        assert mask.stamp == message.header.stamp
        if not beside:
            assert message.header == Header(stamp=Time(sec=stamp), frame_id="hand")
    fake_pipeline.prompt_engine.visible = False

    def lost():
        camera.frame(camera.node.cameras[0]._newest_stamp * 1e-9 + 0.25)
        return received[-1].masks[0].state == PromptedMask.LOST

    wait_for(lost, "the loss")
    assert received[-1].masks[0].reason == "nothing was found where it was last"
    assert len(received[-1].masks[0].mask.counts) == 0
    assert ask(RemovePrompt, object_id="cup").code == Code.OK
    last = camera.node.cameras[0]._newest_stamp * 1e-9
    for step in (1, 2, 3):
        camera.frame(last + step)
    wait_for(lambda: not received[-1].masks, "the empty message")
    time.sleep(0.1)
    assert sum(not one.masks for one in received) == 1


def test_frames_go_on_while_a_prompt_is_answered(start, ask, fake_pipeline, wait_for):
    fake_pipeline.prompt_engine.runs_beside = True
    camera = start()
    camera.frame(1.0)
    fake_pipeline.prompt_engine.gate.clear()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(track=True)))
    thread.start()
    assert fake_pipeline.prompt_engine.entered.acquire(timeout=60.0)
    for stamp in (2.0, 3.0, 4.0):
        camera.frame(stamp)
    assert not answers
    fake_pipeline.prompt_engine.gate.set()
    thread.join(60.0)
    assert answers[0].header.stamp == Time(sec=1)

    def newest():
        return camera.node._pipelines[0].prompts.objects()[0].stamp

    wait_for(lambda: newest() == 4.0, "the object in the newest frame")


def test_objects_are_refined_listed_removed_and_cleared(camera, ask):
    assert ask(object_id="a", track=True).code == Code.OK
    assert ask(object_id="a", points=[PromptPoint(x=9.0, y=9.0, label=0)]).code == Code.OK
    assert ask(object_id="b", stamp=Time(sec=1)).code == Code.OK
    answer = ask(ListPrompts)
    assert [(one.object_id, one.state) for one in answer.masks] == [
        ("a", PromptedMask.TRACKED),
        ("b", PromptedMask.SINGLE),
    ]
    assert [one.stamp.sec for one in answer.masks] == [3, 1]
    known = camera.node._pipelines[0].prompts.objects()[0].prompt
    assert known.labels.tolist() == [1, 0]
    assert ask(RemovePrompt, object_id="a").code == Code.OK
    gone = ask(RemovePrompt, object_id="a")
    assert gone.code == Code.NOT_FOUND
    assert "'a'" in gone.message
    cleared = ask(ClearPrompts)
    assert (cleared.code, cleared.removed) == (Code.OK, 1)
    assert ask(ListPrompts).masks == []


def test_more_objects_than_allowed_are_refused(camera, ask):
    for name in "abc":
        assert ask(object_id=name, track=True).code == Code.OK
    answer = ask(track=True)
    assert answer.code == Code.TOO_MANY_PROMPTS
    assert "remove one" in answer.message
    assert ask(object_id="b", track=True).code == Code.OK, "no new one"
    ask(RemovePrompt, object_id="b")
    assert ask(track=True).code == Code.OK


def test_the_limit_changes_while_objects_are_followed(camera, ask, set_parameter):
    for name in "abc":
        assert ask(object_id=name, track=True).code == Code.OK
    assert set_parameter("max_prompts", 4) == ""
    camera.frame(4.0)
    assert ask(object_id="d", track=True).code == Code.OK
    assert set_parameter("max_prompts", 1) == ""
    camera.frame(5.0)
    assert ask(object_id="e", track=True).code == Code.TOO_MANY_PROMPTS
    assert len(ask(ListPrompts).masks) == 4, "none is ended"
    assert "out of range" in set_parameter("max_prompts", 0)


@pytest.mark.parametrize("points_per_side", [0, 4])
def test_everything(camera, ask, points_per_side):
    answer = ask(SegmentEverything, stamp=Time(sec=2), points_per_side=points_per_side)
    assert (answer.code, answer.message) == (Code.OK, "")
    assert answer.header == Header(stamp=Time(sec=2), frame_id="camera 2")
    (mask,) = answer.masks
    assert (mask.object_id, mask.score, mask.stamp) == ("", 0.75, Time(sec=2))
    assert (mask.mask.box.width, mask.mask.box.height) == (20, 10)


def test_one_request_for_everything_at_a_time_and_prompts_meanwhile(start, ask, fake_pipeline):
    fake_pipeline.prompt_engine.runs_beside = True
    start().frame(1.0)
    fake_pipeline.prompt_engine.gate.clear()
    answers = []
    grid = threading.Thread(
        target=lambda: answers.append(ask(SegmentEverything, points_per_side=3))
    )
    grid.start()
    assert fake_pipeline.prompt_engine.entered.acquire(timeout=60.0)
    refused = ask(SegmentEverything)
    assert refused.code == Code.BUSY and "already" in refused.message
    fake_pipeline.prompt_engine.gate.set()
    assert ask().code == Code.OK
    grid.join(60.0)
    assert [one.code for one in answers] == [Code.OK]
    assert ask(SegmentEverything).code == Code.OK


def test_many_requests_in_one_moment_are_all_answered(start, ask, listener, fake_pipeline):
    """More than a service keeps by default, while all threads of the node are held up."""
    start().frame(1.0)
    client = listener.node.create_client(
        AddPrompt, "/rmpsam/add_prompt", qos_profile=QoSProfile(depth=1000)
    )
    assert client.wait_for_service(60.0)
    fake_pipeline.prompt_engine.gate.clear()
    request = AddPrompt.Request(points=[PromptPoint(x=5.0, y=3.0, label=1)])
    futures = [client.call_async(request) for _ in range(300)]
    fake_pipeline.prompt_engine.gate.set()
    deadline = time.monotonic() + 60.0
    while not all(one.done() for one in futures) and time.monotonic() < deadline:
        time.sleep(0.01)
    codes = Counter(one.result().code for one in futures if one.done())
    assert codes.total() == 300
    assert set(codes) <= {Code.OK, Code.BUSY}


def test_bad_requests_for_everything(camera, ask):
    assert ask(SegmentEverything, points_per_side=65).code == Code.INVALID_REQUEST
    assert ask(SegmentEverything, stamp=Time(sec=9)).code == Code.FRAME_NOT_KEPT


def test_tracks_are_reset_on_demand(camera, ask, listener, fake_pipeline):
    ask(track=True)
    answer = listener.call(Trigger, "/rmpsam/reset_tracks", Trigger.Request())
    assert (answer.success, fake_pipeline.resets) == (True, 1)
    assert ask(ListPrompts).masks == []
    assert ask().code == Code.NO_FRAME
    camera.frame(4.0)
    assert ask().code == Code.OK


def test_every_service_answers_while_not_active(make_node, ask, listener):
    make_node(autostart=False)
    assert {ask(kind).code for kind in SERVICES} == {Code.NOT_ACTIVE}
    answer = listener.call(Trigger, "/rmpsam/reset_tracks", Trigger.Request())
    assert not answer.success
    assert "activate" in answer.message


def test_requests_beyond_the_rate_are_refused(start, ask, wait_for):
    camera = start(prompt_requests_rate=0.5)
    camera.frame(1.0)
    answers = [ask() for _ in range(6)]
    codes = Counter(one.code for one in answers)
    assert codes[Code.OK] >= 1
    assert codes[Code.BUSY] >= 1
    assert any("more than 0.5 requests per second" in one.message for one in answers)
    assert ask(ListPrompts).code == Code.OK, "costs nothing"
    wait_for(lambda: ask().code == Code.OK, "room for one more")


def test_who_waits_for_an_answer_gets_one_when_the_node_stops(start, ask, fake_pipeline, wait_for):
    fake_pipeline.prompt_engine.runs_beside = True
    camera = start()
    camera.frame(1.0)
    fake_pipeline.prompt_engine.gate.clear()
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(ask(object_id="a").code)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    dispatcher = camera.node._camera_services[0].dispatcher
    assert fake_pipeline.prompt_engine.entered.acquire(timeout=60.0)
    wait_for(lambda: len(dispatcher._beside.calls) == 2, "two waiting requests")
    assert not camera.node._release(0.1), "one is being worked on"
    wait_for(lambda: len(codes) == 3, "the answers of those that waited, and of that one")
    assert set(codes) == {Code.NOT_ACTIVE}
    fake_pipeline.prompt_engine.gate.set()
    for thread in threads:
        thread.join(60.0)
    assert camera.node._release()
    assert "prompts" not in {one.name for one in threading.enumerate()}


def test_following_that_fails_is_reported_and_goes_on(
    start, ask, fake_pipeline, wait_for_status, wait_for
):
    fake_pipeline.prompt_engine.runs_beside = True
    camera = start()
    camera.frame(1.0)
    assert ask(track=True).code == Code.OK
    fake_pipeline.prompt_engine.error = RuntimeError("device lost")
    camera.frame(2.0)
    wait_for_status("prompts", {1}, "not followed: RuntimeError: device lost")
    fake_pipeline.prompt_engine.error = None
    camera.frame(3.0)
    wait_for(lambda: camera.node._pipelines[0].prompts.objects()[0].stamp == 3.0, "the object")


def test_diagnostics_tell_engine_objects_and_answers(camera, ask, wait_for, wait_for_status):
    ask(track=True)
    ask(points=[])

    def shown():  # a report may have come between the two
        status = wait_for_status("prompts", {0}, "1 followed, 0 of them lost")
        values = {one.key: one.value for one in status.values}
        return values if values["answered INVALID_REQUEST"] == "1" else None

    values = wait_for(shown, "the refused request")
    assert values["engine"] == "fake (no weights)"
    assert (values["live"], values["tracked"], values["lost"]) == ("1", "1", "0")
    assert values["answered OK"] == "1"


def test_every_service_of_the_package_is_served(start, listener, wait_for):
    start()
    kinds = [name for name in dir(srv) if not name.startswith("_") and name[0].isupper()]

    def served():
        offered = listener.node.get_service_names_and_types()
        return {kind for _, types in offered for one in types for kind in [one.split("/")[-1]]}

    wait_for(lambda: {name for name in kinds if "_" not in name} <= served(), "all services")


def test_a_request_that_was_given_up_changes_nothing(camera, ask, fake_pipeline, set_parameter):
    """Its answer comes after all: nobody is told of the object, so there is none."""
    assert set_parameter("prompt_timeout", 0.2) == ""
    fake_pipeline.prompt_engine.gate.clear()
    assert ask(object_id="ghost", track=True).code == Code.BUSY
    assert set_parameter("prompt_timeout", 60.0) == ""
    fake_pipeline.prompt_engine.gate.set()
    assert ask(object_id="real", track=True).code == Code.OK
    assert [mask.object_id for mask in ask(ListPrompts).masks] == ["real"]


def test_an_image_that_is_old_by_the_clock_is_not_answered_on(start, ask, wait_for):
    camera = start(keep_seconds=0.5)
    camera.frame(1.0)
    wait_for(lambda: camera.node.cameras[0].silent_for() > 1.0, "silence")
    for stamp in (Time(), Time(sec=1)):
        answer = ask(stamp=stamp)
        assert answer.code == Code.FRAME_NOT_KEPT
        assert "prompts are answered on those of the last 0.5 s (keep_seconds)" in answer.message
    camera.node.cameras[0].stop()
    camera.node.cameras[0].start()  # no image has come since
    assert ask().code == Code.FRAME_NOT_KEPT
    camera.frame(1.1)
    assert camera.node.cameras[0].silent_for() > 1.0 or ask().code == Code.OK


def test_frames_give_way_to_who_waits_for_an_answer(
    start, listener, feed, make_image, fake_pipeline, wait_for, monkeypatch
):
    monkeypatch.setattr(right_of_way, "MAX_WAIT", 60.0)
    fake_pipeline.prompt_engine.runs_beside = True
    camera = start()
    camera.frame(1.0)
    engine, statistics = fake_pipeline.prompt_engine, camera.node.cameras[0].statistics
    engine.gate.clear()
    client = listener.node.create_client(AddPrompt, "/rmpsam/add_prompt")
    assert client.wait_for_service(timeout_sec=60.0)
    answer = client.call_async(AddPrompt.Request(points=[PromptPoint(x=5.0, y=3.0, label=1)]))
    assert engine.entered.acquire(timeout=60.0), "the encoder has begun"
    feed(camera.node, make_image(2.0))
    time.sleep(0.3)
    assert statistics.processed == 1, "the frame waits"
    engine.gate.set()
    wait_for(answer.done, "the answer")
    wait_for(lambda: statistics.processed == 2, "the frame")
    listener.node.destroy_client(client)


def test_everything_is_answered_when_half_of_the_time_is_over(start, ask, monkeypatch):
    camera = start()
    camera.frame(1.0)
    asked = []

    def steps(stamp, points_per_side, until, report, cancelled):
        asked.append(until - time.monotonic())
        yield Step.PAUSE
        return EverythingFound((), False, 1.0)

    monkeypatch.setattr(camera.node._pipelines[0].prompts, "everything_steps", steps)
    answer = ask(SegmentEverything)
    assert answer.code == answer.OK and not answer.complete
    assert "ended after 5 s (half of prompt_timeout)" in answer.message
    assert 3.0 < asked[0] <= 5.0
    assert answer.header.stamp.sec == 1
