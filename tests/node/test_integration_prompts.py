"""Prompts with the real MobileSAM in the real node as a process."""

import signal
from itertools import count

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.srv", reason="needs the built package (make build)")

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image

from rmpsam_ros.action import SegmentEverything as EverythingAction
from rmpsam_ros.msg import Latency, PromptBox, PromptedMask, PromptedMaskArray, PromptPoint
from rmpsam_ros.node.prompts.requests import Code
from rmpsam_ros.node.results.messages import array_field
from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_mask
from rmpsam_ros.srv import AddPrompt, ListPrompts, RemovePrompt, SegmentEverything

HEIGHT, WIDTH = 120, 160
SMALL_NETWORK = {
    "weights": "random",
    "long_side": 96,
    "short_side": 96,
    "num_threads": 1,
    "score_threshold": 0.1,
}
seconds = count(1)


@pytest.fixture(scope="module")
def node(make_program):
    parameters = {**SMALL_NETWORK, "keep_seconds": 60.0, "prompt_requests_rate": 100.0}
    parameters["prompt_timeout"] = 120.0  # everything is asked for, however slow the machine
    with make_program("rmpsam_node", parameters) as program:
        program.wait_for_log("active: waiting for Image on /image")
        yield program


def disc(x, y):
    """An image message with a bright disc on dark ground, one second after the last one."""
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    cv2.circle(pixels, (x, y), 20, (240, 200, 30), -1)
    image = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
    image.header.frame_id = "camera"
    image.header.stamp = Time(sec=next(seconds))
    image.data = array_field(pixels)
    return image


@pytest.fixture
def process(node, listener, wait_for):
    """Publish images until they are processed."""
    images = listener.publisher(Image, "/image")
    latencies = listener.subscribe(Latency, "/rmpsam/latency")

    def run(image):
        wait_for(
            lambda: images.publish(image) or any(one.header == image.header for one in latencies),
            "the result of the image",
        )
        return image

    return run


@pytest.fixture
def ask(node, listener):
    def call(kind, name, **fields):
        return listener.call(kind, f"/rmpsam/{name}", kind.Request(**fields))

    return call


@pytest.fixture
def send(listener):
    return lambda **fields: listener.send_goal(
        EverythingAction, "/rmpsam/segment_everything", EverythingAction.Goal(**fields)
    )


def decoded(mask):
    edges = (mask.box.x_offset, mask.box.y_offset)
    edges += (edges[0] + mask.box.width, edges[1] + mask.box.height)
    return decode_mask(
        RunLengthMask(mask.height, mask.width, edges, np.array(mask.counts, np.uint32))
    )


def overlap(mask, x, y):
    """Intersection over union of a mask message with a disc."""
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(wanted, (x, y), 20, 1, -1)
    found = decoded(mask)
    return (found & (wanted > 0)).sum() / (found | (wanted > 0)).sum()


def test_an_older_image_is_answered_after_newer_ones(process, ask):
    old = process(disc(40, 60))
    process(disc(110, 60))
    points = [PromptPoint(x=40.0, y=60.0, label=1)]
    answer = ask(AddPrompt, "add_prompt", points=points, stamp=old.header.stamp)
    assert (answer.code, answer.message) == (Code.OK, "")
    assert answer.header == old.header
    assert overlap(answer.mask.mask, 40, 60) > 0.8
    box = PromptBox(x_min=88.0, y_min=38.0, x_max=132.0, y_max=82.0)
    answer = ask(AddPrompt, "add_prompt", boxes=[box])
    assert overlap(answer.mask.mask, 110, 60) > 0.8


def test_a_clicked_object_is_followed(process, ask, listener, wait_for):
    received = listener.subscribe(PromptedMaskArray, "/rmpsam/prompted_masks")
    clicks = listener.publisher(Point, "/image_mouse_left")
    process(disc(40, 60))
    clicks.publish(Point(x=40.0, y=60.0))
    wait_for(
        lambda: [m for m in ask(ListPrompts, "list_prompts").masks if m.state], "a followed object"
    )
    for x in (46, 52):
        image = process(disc(x, 60))
        wait_for(
            lambda image=image: (
                process(image) and any(one.header == image.header for one in received)
            ),
            "its mask in this image",
        )
        message = next(one for one in received if one.header == image.header)
        assert message.masks[0].state == PromptedMask.TRACKED, message.masks[0].reason
        assert overlap(message.masks[0].mask, x, 60) > 0.7
    name = received[-1].masks[0].object_id
    assert ask(RemovePrompt, "remove_prompt", object_id=name).code == Code.OK
    wait_for(lambda: process(disc(40, 60)) and not received[-1].masks, "the empty message")


def test_everything_in_an_image(process, ask, send, wait_for):
    image = process(disc(80, 60))
    for points_per_side in (0, 3):
        answer = ask(
            SegmentEverything,
            "segment_everything",
            stamp=image.header.stamp,
            points_per_side=points_per_side,
        )
        assert (answer.code, answer.message) == (Code.OK, "")
        assert answer.header == image.header
        goal = send(stamp=image.header.stamp, points_per_side=points_per_side)
        status, result = goal.result()
        assert (status, result.code) == (GoalStatus.STATUS_SUCCEEDED, Code.OK)
        assert (result.header, result.masks) == (answer.header, answer.masks)
        areas = [decoded(one.mask).sum() for one in answer.masks]
        assert areas == sorted(areas, reverse=True)
    assert max(overlap(one.mask, 80, 60) for one in answer.masks) > 0.8
    wait_for(lambda: goal.told, "masks as they are found")
    assert (goal.told[-1].done, goal.told[-1].total) == (9, 9)
    assert max(overlap(one.mask, 80, 60) for one in goal.told[-1].masks) > 0.8


def test_a_canceled_search_ends_early_and_leaves_the_node_free(process, ask, send, wait_for):
    process(disc(80, 60))
    goal = send(points_per_side=64)
    wait_for(lambda: goal.told, "the first masks")
    goal.cancel()
    status, result = goal.result()
    assert (status, result.code, result.complete) == (GoalStatus.STATUS_CANCELED, Code.OK, False)
    assert goal.told[-1].done < goal.told[-1].total / 4
    points = [PromptPoint(x=80.0, y=60.0, label=1)]
    assert ask(AddPrompt, "add_prompt", points=points).code == Code.OK


def test_the_end(node, process, send, wait_for):
    """Last in this file: what runs has a result, the node ends with status 0, nothing unseen."""
    process(disc(80, 60))
    goal = send(points_per_side=64)
    wait_for(lambda: goal.told, "the first masks")
    assert node.end(signal.SIGINT) == 0
    status, result = goal.result()
    assert (status, result.code) == (GoalStatus.STATUS_ABORTED, Code.NOT_ACTIVE)
    assert "Traceback" not in node.log
