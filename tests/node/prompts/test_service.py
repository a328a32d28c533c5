"""The prompt service in this process: a mask for a good request, a typed answer for any other."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.srv", reason="needs the built package (make build)")

from builtin_interfaces.msg import Time

from rmpsam_ros.msg import PromptBox, PromptedMask, PromptPoint
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_mask
from rmpsam_ros.srv import AddPrompt

OK = AddPrompt.Response.OK
NAN, INFINITY = float("nan"), float("inf")


def point(x=10.0, y=20.0, label=1):
    return PromptPoint(x=x, y=y, label=label)


def box(x_min=5.0, y_min=5.0, x_max=20.0, y_max=30.0):
    return PromptBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)


@pytest.fixture
def ask(listener):
    def call(**fields):
        return listener.call(AddPrompt, "/rmpsam/add_prompt", AddPrompt.Request(**fields))

    return call


@pytest.fixture
def node(make_node, feed, make_image, wait_for, fake_pipeline):
    """An active node that has processed the image of stamp 2.5."""
    node = make_node(max_waiting_prompts=2, prompt_requests_rate=1000.0)
    wait_for(lambda: node.cameras[0].active, "the active state")
    feed(node, make_image(2.5, frame_id="hand"))
    wait_for(lambda: node.cameras[0].statistics.processed, "the frame")
    while fake_pipeline.entered.acquire(blocking=False):
        pass
    return node


def test_a_click_gives_a_mask(node, ask):
    answer = ask(points=[point()])
    assert (answer.code, answer.message) == (OK, "")
    assert answer.header.frame_id == "hand"
    assert answer.header.stamp == Time(sec=2, nanosec=500_000_000)
    assert answer.mask.object_id == answer.object_id != ""
    assert (answer.mask.state, answer.mask.score) == (PromptedMask.SINGLE, 0.5)
    mask = answer.mask.mask
    region = (mask.box.x_offset, mask.box.y_offset)
    extent = (mask.box.x_offset + mask.box.width, mask.box.y_offset + mask.box.height)
    runs = RunLengthMask(
        mask.height, mask.width, region + extent, np.array(mask.counts, np.uint32)
    )
    expected = np.zeros((60, 80), bool)
    expected[2:5, 3:9] = True
    np.testing.assert_array_equal(decode_mask(runs), expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"points": [point()], "object_id": "my cup ☕"},
        {"points": [point(), point(30.0, 30.0, 0)]},
        {"boxes": [box()]},
        {"boxes": [box()], "points": [point(label=0)]},
        {"points": [point()], "stamp": Time(sec=2, nanosec=500_000_000)},
        {"points": [point(0.0, 0.0), point(79.0, 59.0)]},
        {"boxes": [box(0.0, 0.0, 80.0, 60.0)]},
    ],
)
def test_good_requests(node, ask, fields):
    answer = ask(**fields)
    assert (answer.code, answer.message) == (OK, "")
    if "object_id" in fields:
        assert answer.object_id == fields["object_id"]


def test_generated_ids_differ(node, ask):
    assert len({ask(points=[point()]).object_id for _ in range(3)}) == 3


BAD_REQUESTS = {
    "nothing": ({}, "INVALID_REQUEST", "at least one foreground point or one box"),
    "only background": (
        {"points": [point(label=0)]},
        "INVALID_REQUEST",
        "at least one foreground point",
    ),
    "label 2": ({"points": [point(label=2)]}, "INVALID_REQUEST", "labels must be 0"),
    "nan point": ({"points": [point(x=NAN)]}, "INVALID_REQUEST", "nan"),
    "infinite point": ({"points": [point(y=-INFINITY)]}, "INVALID_REQUEST", "inf"),
    "right of the image": ({"points": [point(x=80.0)]}, "INVALID_REQUEST", "80 x 60"),
    "above the image": ({"points": [point(y=-1.0)]}, "INVALID_REQUEST", "outside"),
    "nan box": ({"boxes": [box(x_max=NAN)]}, "INVALID_REQUEST", "nan"),
    "box outside": ({"boxes": [box(x_max=81.0)]}, "INVALID_REQUEST", "outside"),
    "inverted box": ({"boxes": [box(x_min=30.0)]}, "INVALID_REQUEST", "x_max > x_min"),
    "empty box": ({"boxes": [box(y_min=30.0)]}, "INVALID_REQUEST", "y_max > y_min"),
    "too many points": ({"points": [point()] * 1000}, "INVALID_REQUEST", "1000 points"),
    "too many boxes": ({"boxes": [box()] * 1000}, "INVALID_REQUEST", "1000 boxes"),
    "long id": (
        {"points": [point()], "object_id": "x" * 1000},
        "INVALID_REQUEST",
        "1000 characters",
    ),
    "old stamp": (
        {"points": [point()], "stamp": Time(sec=1)},
        "FRAME_NOT_KEPT",
        "1.000000 s is not kept; kept is 1 from 2.500000 to 2.500000 s",
    ),
    "future stamp": ({"points": [point()], "stamp": Time(sec=9)}, "FRAME_NOT_KEPT", "9.0000"),
    "almost the stamp": (
        {"points": [point()], "stamp": Time(sec=2, nanosec=500_000_001)},
        "FRAME_NOT_KEPT",
        "2.500000 s is not kept",
    ),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_get_a_code_and_a_reason(node, ask, name):
    fields, code, reason = BAD_REQUESTS[name]
    answer = ask(**fields)
    assert answer.code == getattr(AddPrompt.Response, code)
    assert reason in answer.message
    assert (answer.object_id, len(answer.mask.mask.counts)) == ("", 0)
    assert ask(points=[point()]).code == OK, "alive"


def test_before_any_image(make_node, ask, wait_for):
    node = make_node()
    wait_for(lambda: node.cameras[0].active, "the active state")
    answer = ask(points=[point()])
    assert answer.code == AddPrompt.Response.NO_FRAME
    assert "send images" in answer.message


def test_while_not_active(make_node, ask):
    make_node(autostart=False)
    answer = ask(points=[point()])
    assert answer.code == AddPrompt.Response.NOT_ACTIVE


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("device lost"), "RuntimeError: device lost"),
        (EngineError("out of memory"), "out of memory"),
        (FloatingPointError("masks are not finite"), "masks are not finite"),
    ],
)
def test_a_failing_engine_is_an_answer(node, ask, fake_pipeline, wait_for_status, error, reason):
    fake_pipeline.prompt_engine.error = error
    answer = ask(points=[point()])
    assert answer.code == AddPrompt.Response.INTERNAL_ERROR
    assert reason in answer.message
    fake_pipeline.prompt_engine.error = None
    assert ask(points=[point()]).code == OK
    wait_for_status("prompts", {1}, reason)


class Caller(threading.Thread):
    """Asks in the background."""

    def __init__(self, ask, **fields):
        super().__init__()
        self.ask, self.fields, self.answer = ask, fields, None
        self.start()

    def run(self):
        self.answer = self.ask(**self.fields)

    def result(self):
        self.join(60.0)
        return self.answer


def hold(fake_pipeline, node, feed, make_image):
    """Have the inference thread stop in the middle of a frame."""
    fake_pipeline.gate.clear()
    feed(node, make_image(3.0))
    assert fake_pipeline.entered.acquire(timeout=60.0)


def test_images_come_in_and_more_requests_are_refused_while_some_wait(
    node, ask, fake_pipeline, feed, make_image, wait_for
):
    hold(fake_pipeline, node, feed, make_image)
    waiting = [Caller(ask, points=[point()]) for _ in range(2)]
    wait_for(lambda: len(node._thread.calls) == 2, "two waiting requests")
    for _ in range(5):
        answer = ask(points=[point()])
        assert answer.code == AddPrompt.Response.BUSY
        assert "2 requests are waiting" in answer.message
    received = node.cameras[0].slot.received
    feed(node, make_image(4.0))
    wait_for(lambda: node.cameras[0].slot.received > received, "an image meanwhile")
    fake_pipeline.gate.set()
    assert [caller.result().code for caller in waiting] == [OK, OK]
    assert [caller.result().header.stamp.sec for caller in waiting] == [3, 3]


def test_a_request_that_waits_too_long_is_answered(
    make_node, feed, ask, make_image, wait_for, fake_pipeline
):
    node = make_node(prompt_timeout=0.2)
    wait_for(lambda: node.cameras[0].active, "the active state")
    hold(fake_pipeline, node, feed, make_image)
    answer = ask(points=[point()])
    assert answer.code == AddPrompt.Response.BUSY
    assert "prompt_timeout" in answer.message
    fake_pipeline.gate.set()
    wait_for(lambda: ask(points=[point()]).code == OK, "recovery")


def test_requests_that_wait_when_the_network_is_unloaded_are_answered(
    node, ask, fake_pipeline, feed, make_image, wait_for
):
    hold(fake_pipeline, node, feed, make_image)
    caller = Caller(ask, points=[point()])
    wait_for(lambda: node._thread.calls, "a waiting request")
    closer = threading.Thread(target=node._release)
    closer.start()
    assert caller.result().code == AddPrompt.Response.NOT_ACTIVE
    fake_pipeline.gate.set()
    closer.join(60.0)
