"""The real node as a process, with the real network, over real DDS."""

import signal
import time
from itertools import count

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from rmpsam_ros.msg import (
    InstanceTrackArray,
    LabelTable,
    Latency,
    PanopticSegmentation,
    PromptBox,
    PromptedMask,
    PromptPoint,
)
from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_id_map, decode_mask
from rmpsam_ros.srv import AddPrompt

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RESULTS = {
    "/rmpsam/panoptic": PanopticSegmentation,
    "/rmpsam/tracks": InstanceTrackArray,
    "/rmpsam/panoptic/semantic": Image,
    "/rmpsam/panoptic/instance": Image,
    "/rmpsam/overlay": Image,
    "/rmpsam/latency": Latency,
}
# Small, so that a frame takes a fraction of a second; low thresholds, so that there are many
# segments whatever the weights are.
SMALL_NETWORK = {
    "weights": "random",
    "long_side": 96,
    "short_side": 96,
    "num_threads": 1,
    "score_threshold": 0.1,
    "overlap_threshold": 0.0,
    "prompt_engine": "rmpsam",
}
nanoseconds = count(1)


@pytest.fixture(scope="module")
def node(make_program):
    """The node, waiting for images."""
    parameters = {**SMALL_NETWORK, "input_timeout": 1.0, "prompt_requests_rate": 1000.0}
    with make_program("rmpsam_node", parameters) as program:
        program.wait_for_log("active: waiting for Image on /image")
        yield program


@pytest.fixture
def images(node, listener):
    return listener.publisher(Image, "/image")


@pytest.fixture
def process(listener, images, wait_for):
    """Publish an image until it is processed; its Latency.

    Each gets nanoseconds of its own: a copy may still be processed after the result of the first.
    """
    latencies = listener.subscribe(Latency, "/rmpsam/latency")

    def run(image):
        image.header.stamp.nanosec = next(nanoseconds)

        def result():
            images.publish(image)
            return [one for one in latencies if one.header == image.header]

        return wait_for(result, "the result of the image")[-1]

    return run


def test_start_up_says_what_runs_and_where_images_are_expected(node):
    for words in (
        "loading PyTorch",
        "network: rmpsam_r18",
        "fp32",
        "cpu",
        "waiting for Image on /image (reliable, keep last 1)",
        "/rmpsam/panoptic",
    ):
        assert words in node.log
    assert len(node.log.splitlines()) < 15


@pytest.mark.parametrize(
    ("frame_id", "size"),
    [("camera", (480, 640)), ("", (31, 97)), ("odd frame/ü 中 with spaces", (120, 160))],
)
def test_every_result_has_the_header_and_size_of_the_image(
    listener, images, make_image, wait_for, frame_id, size
):
    height, width = size
    received = {topic: listener.subscribe(kind, topic) for topic, kind in RESULTS.items()}
    image = make_image(5.123456789, height, width, frame_id)

    def all_came():
        images.publish(image)
        return all(any(m.header == image.header for m in list(r)) for r in received.values())

    wait_for(all_came, "all results")
    newest = {
        topic: next(m for m in reversed(messages) if m.header == image.header)
        for topic, messages in received.items()
    }
    for topic, message in newest.items():
        if hasattr(message, "height"):
            assert (message.height, message.width) == size, topic
    panoptic = newest["/rmpsam/panoptic"]
    id_map = decode_id_map(panoptic.run_ids, panoptic.run_lengths, height, width)
    ids = {segment.id for segment in panoptic.segments}
    assert set(np.unique(id_map)) - {0} == ids
    semantic = np.frombuffer(newest["/rmpsam/panoptic/semantic"].data, np.uint8)
    semantic = semantic.reshape(size)
    for segment in panoptic.segments:
        assert set(np.unique(semantic[id_map == segment.id])) == {segment.class_id}
        assert segment.area == np.count_nonzero(id_map == segment.id)
    assert set(np.unique(semantic[id_map == 0])) <= {255}
    overlay = newest["/rmpsam/overlay"]
    assert (overlay.encoding, overlay.step) == ("rgb8", 3 * width)
    latency = newest["/rmpsam/latency"]
    assert 0.0 < latency.inference_ms < latency.total_ms


def test_late_subscribers_get_the_label_table(node, listener, wait_for):
    tables = listener.subscribe(LabelTable, "/rmpsam/label_info", LATCHED)
    wait_for(lambda: tables, "the label table")
    assert len(tables[0].labels) == 133


def ask(listener, **fields):
    return listener.call(AddPrompt, "/rmpsam/add_prompt", AddPrompt.Request(**fields))


def test_a_prompt_is_answered_on_the_newest_image(listener, process, make_image):
    image = make_image(7.0, 120, 160, "hand")
    process(image)
    answer = ask(
        listener,
        points=[PromptPoint(x=80.0, y=60.0, label=1), PromptPoint(x=5.0, y=5.0, label=0)],
        boxes=[PromptBox(x_min=40.0, y_min=30.0, x_max=120.0, y_max=90.0)],
        stamp=image.header.stamp,
        object_id="cup",
    )
    assert (answer.code, answer.message) == (AddPrompt.Response.OK, "")
    assert answer.header == image.header
    assert (answer.object_id, answer.mask.object_id) == ("cup", "cup")
    assert answer.mask.state == PromptedMask.SINGLE
    assert 0.0 <= answer.mask.score <= 1.0
    mask = answer.mask.mask
    edges = (mask.box.x_offset, mask.box.y_offset)
    edges += (edges[0] + mask.box.width, edges[1] + mask.box.height)
    runs = RunLengthMask(mask.height, mask.width, edges, np.array(mask.counts, np.uint32))
    assert decode_mask(runs).shape == (120, 160)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({}, "INVALID_REQUEST", "at least one foreground point"),
        ({"points": [PromptPoint(x=float("nan"), y=1.0, label=1)]}, "INVALID_REQUEST", "nan"),
        ({"points": [PromptPoint(x=1e9, y=1.0, label=1)]}, "INVALID_REQUEST", "outside"),
        ({"points": [PromptPoint(x=1.0, y=1.0, label=2)]}, "INVALID_REQUEST", "labels"),
        ({"points": [PromptPoint(x=1.0, y=1.0, label=1)] * 10000}, "INVALID_REQUEST", "10000"),
        ({"boxes": [PromptBox(x_min=9.0, x_max=3.0, y_max=9.0)]}, "INVALID_REQUEST", "x_max"),
        ({"points": [PromptPoint(label=1)], "stamp": Time(sec=77)}, "FRAME_NOT_KEPT", "77.0"),
    ],
)
def test_bad_prompts_are_answered(listener, process, make_image, fields, code, words):
    process(make_image())
    answer = ask(listener, **fields)
    assert answer.code == getattr(AddPrompt.Response, code)
    assert words in answer.message


def broken(make_image, **changes):
    image = make_image()
    for name, value in changes.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "32FC1"}, "'32FC1' is not supported"),
        ({"step": 0}, "step is 0"),
        ({"height": 2**32 - 1}, "4294967295"),
        ({"width": 0, "height": 0}, "0 x 0 pixels"),
        ({"data": b""}, "data has 0 bytes"),
    ],
)
def test_malformed_images_are_reported_and_good_ones_follow(
    node, images, process, make_image, wait_for_status, changes, reason
):
    bad = broken(make_image, **changes)
    before = process(make_image(2.0)).frames_failed
    wait_for_status("processing", {1, 2}, reason, meanwhile=lambda: images.publish(bad))
    assert process(make_image(3.0)).frames_failed > before
    assert node.process.poll() is None


def test_size_and_encoding_may_change_from_image_to_image(process, make_image):
    for encoding, bytes_per_pixel, height, width in (
        ("rgb8", 3, 60, 80),
        ("mono8", 1, 480, 640),
        ("bgra8", 4, 90, 50),
        ("yuv422_yuy2", 2, 60, 80),
        ("mono16", 2, 1, 1),
        ("rgb8", 3, 2, 2000),
        ("rgb8", 3, 1080, 1920),
    ):
        image = make_image(20.0, height, width, "camera", encoding, bytes_per_pixel)
        assert process(image).frames_processed > 0


def test_silence_is_reported_and_a_second_publisher_is_named(
    node, listener, process, make_image, wait_for_status, wait_for
):
    process(make_image(40.0))
    status = wait_for_status("input", {2}, "stopped sending")
    assert {"topic", "QoS", "publishers", "rate (Hz)"} <= {one.key for one in status.values}
    images = listener.publisher(Image, "/image")

    def arrives():
        images.publish(make_image(41.0))
        time.sleep(0.1)  # not so many that a slow machine loses a share worth a warning
        return "2 publishers send images on /image (/listener, /listener)" in node.log

    wait_for(arrives, "the warning in the log")


def test_thresholds_change_while_images_come(
    listener, process, make_image, set_parameter, wait_for
):
    found = listener.subscribe(PanopticSegmentation, "/rmpsam/panoptic")

    def segments(stamp):
        header = process(make_image(stamp)).header
        wait_for(lambda: any(one.header == header for one in found), "the segments")
        return next(one.segments for one in found if one.header == header)

    assert segments(60.0)
    assert set_parameter("score_threshold", 1.0) == ""
    assert not segments(61.0)
    assert "out of range" in set_parameter("score_threshold", 1.5)
    assert "read-only" in set_parameter("cameras", "front").lower()
    assert "unconfigured" in set_parameter("long_side", 64)
    assert not segments(62.0)
    assert set_parameter("score_threshold", 0.1) == ""
    assert segments(63.0)


def test_stamps_that_go_back_begin_new_tracks(node, process, make_image):
    process(make_image(1000.0))
    process(make_image(10.0))
    assert "image stamps went back by 990.000 s" in node.log
    process(make_image(11.0))


def test_every_transition_with_the_real_network(
    node, listener, process, make_image, change_state, get_state, wait_for_status
):
    process(make_image(50.0))
    assert change_state("deactivate")
    assert get_state() == "inactive"
    answer = ask(listener, points=[PromptPoint(x=1.0, y=1.0, label=1)])
    assert answer.code == AddPrompt.Response.NOT_ACTIVE
    assert change_state("cleanup")
    wait_for_status("network", {0}, "not loaded")
    assert change_state("configure")
    assert change_state("activate")
    answer = ask(listener, points=[PromptPoint(x=1.0, y=1.0, label=1)])
    assert answer.code == AddPrompt.Response.NO_FRAME
    assert process(make_image(1.0)).frames_processed >= 1


def test_the_end(node):
    """Last in this file: the node ends with status 0, and nothing went wrong unseen."""
    assert node.end(signal.SIGINT) == 0
    assert node.log.rstrip().endswith("stopping")
    assert "Traceback" not in node.log
