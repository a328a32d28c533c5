"""The node in this process with a fake pipeline: frames, failures, parameters."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from rmpsam_ros import defaults
from rmpsam_ros.msg import (
    InstanceTrackArray,
    LabelTable,
    Latency,
    PanopticSegmentation,
)
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.prompts.dispatcher import PromptDispatcher

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RESULTS = {
    "/rmpsam/panoptic": PanopticSegmentation,
    "/rmpsam/tracks": InstanceTrackArray,
    "/rmpsam/panoptic/semantic": Image,
    "/rmpsam/panoptic/instance": Image,
    "/rmpsam/overlay": Image,
    "/rmpsam/latency": Latency,
}


# Frames ---------------------------------------------------------------------------------------


@pytest.fixture
def active(make_node, wait_for, get_state):
    """Start an active node."""

    def start(**parameters):
        node = make_node(**parameters)
        wait_for(lambda: get_state() == "active", "the active state")
        return node

    return start


def test_all_results_carry_the_header_and_size_of_the_image(
    active, listener, make_image, wait_for
):
    active()
    received = {topic: listener.subscribe(kind, topic) for topic, kind in RESULTS.items()}
    images = listener.publisher(Image, "/image")
    image = make_image(3.25, frame_id="odd frame/ü 中, with spaces")
    wait_for(lambda: images.publish(image) or all(received.values()), "all results")
    for topic, messages in received.items():
        assert messages[-1].header == image.header, topic
    sizes = {
        topic: (messages[-1].height, messages[-1].width)
        for topic, messages in received.items()
        if hasattr(messages[-1], "height")
    }
    assert sizes == dict.fromkeys(sizes, (60, 80))
    assert len(sizes) == 4
    semantic = received["/rmpsam/panoptic/semantic"][-1]
    instance = received["/rmpsam/panoptic/instance"][-1]
    assert (semantic.encoding, instance.encoding) == ("mono8", "16UC1")
    classes = np.frombuffer(semantic.data, np.uint8).reshape(60, 80)
    instances = np.frombuffer(instance.data, np.uint16).reshape(60, 80)
    assert (classes[0, 0], classes[0, 79], classes[59, 0]) == (0, 132, 255)
    assert (instances[0, 0], instances[0, 79], instances[59, 0]) == (7, 0, 0)
    latency = received["/rmpsam/latency"][-1]
    assert latency.frames_processed >= 1
    assert latency.inference_ms == pytest.approx(2.0)
    assert latency.total_ms >= latency.wait_ms + latency.decode_ms


def test_label_images_are_made_only_while_somebody_subscribes(
    active, listener, make_image, wait_for, fake_pipeline, monkeypatch
):
    made = []
    for name in ("semantic_map", "instance_map", "overlay"):
        original = getattr(fake_pipeline, name)
        monkeypatch.setattr(
            fake_pipeline,
            name,
            lambda *values, name=name, original=original: made.append(name) or original(*values),
        )
    active()
    latency = listener.subscribe(Latency, "/rmpsam/latency")
    images = listener.publisher(Image, "/image")
    wait_for(lambda: images.publish(make_image()) or latency, "a processed frame")
    assert not made
    semantic = listener.subscribe(Image, "/rmpsam/panoptic/semantic")
    wait_for(lambda: images.publish(make_image()) or semantic, "a semantic image")
    assert set(made) == {"semantic_map"}


def test_prompts_go_on_when_the_results_of_the_frame_are_out(
    active, feed, make_image, wait_for, monkeypatch
):
    node, order = active(), []
    publishers = node.cameras[0].publishers
    publish = publishers.publish
    monkeypatch.setattr(
        publishers, "publish", lambda *job: order.append("results") or publish(*job)
    )
    monkeypatch.setattr(publishers, "publish_latency", lambda _: order.append("latency"))
    monkeypatch.setattr(PromptDispatcher, "on_frame", lambda _: order.append("prompts"))
    feed(node, make_image())
    wait_for(lambda: "prompts" in order, "the prompts' turn")
    assert order == ["results", "latency", "prompts"]


def test_only_the_newest_image_is_processed_and_the_others_are_counted(
    active, feed, make_image, wait_for, fake_pipeline
):
    node = active()
    camera = node.cameras[0]
    fake_pipeline.gate.clear()
    feed(node, make_image(1.0))
    assert fake_pipeline.entered.acquire(timeout=60.0)
    for stamp in (2.0, 3.0, 4.0):
        before = camera.slot.received
        feed(node, make_image(stamp))
        wait_for(lambda before=before: camera.slot.received > before, "arrival")
    fake_pipeline.gate.set()
    wait_for(lambda: camera.statistics.processed == 2, "both frames")
    assert fake_pipeline.stamps == [1.0, 4.0]
    assert (camera.slot.received, camera.slot.dropped) == (4, 2)


def test_bad_images_are_counted_and_reported_and_the_next_good_one_is_processed(
    active, feed, make_image, wait_for, wait_for_status
):
    node = active()
    bad = make_image()
    bad.data = bad.data[:-1]
    feed(node, bad)
    wait_for(lambda: node.cameras[0].statistics.failed == 1, "the failure")
    wait_for_status("processing", {1, 2}, "data has 14399 bytes")
    feed(node, make_image())
    wait_for(lambda: node.cameras[0].statistics.processed == 1, "the good image")


def test_a_failing_network_is_an_error_and_recovers(
    active, feed, make_image, wait_for, wait_for_status, fake_pipeline
):
    node = active()
    fake_pipeline.error = RuntimeError("out of memory on the device")
    wait_for(
        lambda: feed(node, make_image()) or node.cameras[0].statistics.failures_in_a_row >= 10,
        "ten failures",
    )
    wait_for_status("processing", {2}, "every image fails: RuntimeError: out of memory")
    fake_pipeline.error = None
    wait_for(lambda: feed(node, make_image()) or node.cameras[0].statistics.processed, "a result")
    assert node.cameras[0].statistics.failures_in_a_row == 0


@pytest.mark.parametrize(
    ("stamps", "resets"),
    [
        ((10.0, 11.0), 0),
        ((10.0, 10.0), 0),
        ((10.0, 9.6), 0),
        ((10.0, 9.4), 1),
        ((10.0, 1000.0), 0),
        ((1000.0, 0.1), 1),
    ],
)
def test_stamps_that_jump_back_reset_the_pipeline(
    active, feed, make_image, wait_for, fake_pipeline, stamps, resets
):
    node = active()
    for number, stamp in enumerate(stamps, start=1):
        feed(node, make_image(stamp))
        wait_for(lambda number=number: len(fake_pipeline.stamps) == number, "the frame")
    assert fake_pipeline.stamps == pytest.approx(list(stamps))
    assert fake_pipeline.resets == resets


def test_a_camera_that_stamps_no_image_is_told_apart_by_receipt(
    active, listener, make_image, wait_for, feed, fake_pipeline
):
    node = active()
    latencies = listener.subscribe(Latency, "/rmpsam/latency")
    wait_for(lambda: feed(node, make_image(0.0)) or len(latencies) > 2, "results")
    stamps = list(fake_pipeline.stamps)
    assert stamps == sorted(set(stamps))
    assert stamps[0] > 1e9
    assert fake_pipeline.resets == 0
    assert {(one.header.stamp.sec, one.header.stamp.nanosec) for one in latencies} == {(0, 0)}


def test_an_overlay_that_fails_does_not_stop_the_others(
    active, listener, feed, make_image, wait_for, fake_pipeline, monkeypatch
):
    def fail(*values):
        raise ValueError("no font")

    node = active(overlay_rate=100.0)
    overlays = listener.subscribe(Image, "/rmpsam/overlay")
    with monkeypatch.context() as patch:
        patch.setattr(fake_pipeline, "overlay", fail)
        wait_for(
            lambda: feed(node, make_image()) or node.cameras[0].statistics.processed > 5, "frames"
        )
    assert not overlays
    wait_for(lambda: feed(node, make_image()) or overlays, "an overlay")


def test_overlays_come_at_most_at_the_given_rate(active, listener, make_image, wait_for):
    node = active(overlay_rate=1.0)
    overlays = listener.subscribe(Image, "/rmpsam/overlay")
    images = listener.publisher(Image, "/image")
    wait_for(lambda: images.publish(make_image()) or overlays, "the first overlay")
    first = node.cameras[0].statistics.processed
    wait_for(
        lambda: images.publish(make_image()) or node.cameras[0].statistics.processed > first + 20,
        "many frames",
    )
    assert len(overlays) < 20


# Latched tables and parameters ----------------------------------------------------------------


def test_the_label_table_reaches_who_comes_late(active, listener, wait_for):
    active()
    tables = listener.subscribe(LabelTable, "/rmpsam/label_info", LATCHED)
    wait_for(lambda: tables, "the table")
    assert tables[0].name == "coco_panoptic"
    assert len(tables[0].labels) == 133


def test_thresholds_and_classes_change_while_running(
    active, feed, make_image, wait_for, set_parameter, fake_pipeline
):
    node = active()

    def used(count):
        wait_for(lambda: feed(node, make_image()) or len(fake_pipeline.fusions) > count, "a frame")
        return fake_pipeline.fusions[-1]

    assert used(0).score_threshold == defaults.SCORE_THRESHOLD
    assert set_parameter("score_threshold", 0.25) == ""
    assert set_parameter("min_piece", 0.45) == ""
    assert set_parameter("classes", "person, car") == ""
    fusion = used(len(fake_pipeline.fusions) + 1)
    assert (fusion.score_threshold, fusion.class_ids) == (0.25, frozenset({0, 2}))
    assert fusion.tidy.min_piece == 0.45
    assert "'dgo'" in set_parameter("classes", "person,dgo")
    assert set_parameter("classes", "") == ""
    assert used(len(fake_pipeline.fusions) + 1).class_ids is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("score_threshold", 1.5, "score_threshold"),
        ("score_threshold", float("nan"), "score_threshold"),
        ("score_threshold", "high", "expected double"),
        ("overlay_rate", 0.0, "overlay_rate"),
        ("image_transport", "compressed", "read-only"),
        ("model", "rmpsam_r50", "changes only while the node is unconfigured"),
    ],
)
def test_refused_changes_have_a_reason(active, set_parameter, name, value, reason):
    active()
    assert reason in set_parameter(name, value)


def test_network_parameters_change_while_unconfigured(
    make_node, change_state, set_parameter, fake_pipeline
):
    used = []

    def factory(values, progress):
        used.append(values)
        return fake_pipeline

    make_node(factory, autostart=False)
    assert set_parameter("model", "rmpsam_r50") == ""
    assert change_state("configure")
    assert used[-1].model == "rmpsam_r50"
    assert "unconfigured" in set_parameter("model", "rmpsam_r18")
    assert change_state("cleanup")
    assert set_parameter("model", "rmpsam_r18") == ""
    assert change_state("configure")
    assert used[-1].model == "rmpsam_r18"


@pytest.mark.parametrize(
    ("name", "value"),
    [("score_threshold", 1.5), ("long_side", 31), ("image_transport", "jpeg"), ("model", 18)],
)
def test_a_bad_value_at_start_is_one_clear_error(make_node, name, value):
    with pytest.raises(ParameterError, match=name):
        make_node(spinning=False, **{name: value})


def test_unknown_parameters_are_named(make_node):
    node = make_node(spinning=False, autostart=False, score_treshold=0.5)
    (line,) = node._settings.unknown_names()
    assert "'score_treshold'" in line
    assert "did you mean 'score_threshold'" in line


# Text of peers --------------------------------------------------------------------------------


def test_text_of_publishers_forges_no_log_line(
    active, feed, make_image, wait_for, wait_for_status, capfd
):
    node = active()
    statistics = node.cameras[0].statistics
    forged = "x\n[ERROR] [1.0] [rmpsam]: forged line \x1b[31m" + "a" * 10_000
    feed(node, make_image(1.0, encoding=forged))
    wait_for(lambda: statistics.failed == 1, "the bad image")
    feed(node, make_image(2.0, frame_id=forged))
    wait_for(lambda: statistics.processed == 1, "the good image")
    status = wait_for_status("processing", {1}, "x\\n[ERROR]")
    assert all(text.isprintable() for text in (status.message, *(v.value for v in status.values)))
    assert len(status.message) < 1000
    lines = capfd.readouterr().err.splitlines()
    assert any("forged line" in line for line in lines), "the text is shown, escaped"
    assert not any(line.startswith("[ERROR] [1.0]") or "\x1b[31m" in line for line in lines)
    assert max(map(len, lines)) < 2000


def test_long_frame_ids_are_not_hoarded(active, feed, make_image, wait_for):
    node = active()
    camera = node.cameras[0]
    for index in range(1, 31):
        feed(node, make_image(float(index), frame_id=f"{index}" * 500_000))
        wait_for(
            lambda done=index: camera.statistics.processed == done, "the image with a long name"
        )
    kept = [header.frame_id for header in camera.headers._headers.values()]
    assert sum(map(len, kept)) <= 5_000_000
    assert kept[-1].startswith("30"), "the newest one is there"


def test_a_missing_package_says_how_to_get_it(make_node, wait_for_status):
    def factory(settings, progress):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    make_node(factory)
    wait_for_status("network", {2}, "No module named 'torch'; pip install torch")


@pytest.mark.parametrize("value", [1, 0, 0.5])
def test_whole_numbers_are_numbers(make_node, set_parameter, value):
    node = make_node(score_threshold=value, autostart=False)
    current = lambda: node._settings.current.score_threshold  # noqa: E731
    assert current() == value and type(current()) is float
    assert set_parameter("overlap_threshold", 1) == ""
    assert type(node._settings.current.overlap_threshold) is float
    assert "score_threshold is 2.0; expected 0 to 1" in set_parameter("score_threshold", 2)
