"""Images whose data is damaged, or of another range than expected, on the way into the node."""

import array

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")
pytest.importorskip("simplejpeg", reason="nothing else tells damage inside the data")

from sensor_msgs.msg import CompressedImage

OK, WARN = b"\0"[0], b"\1"[0]


@pytest.fixture
def jpegs():
    """Make a good JPEG message, or one in which a piece is missing."""
    scene = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    data = cv2.imencode(".jpg", scene)[1].tobytes()

    def make(stamp, damaged=False):
        content = data[:1000] + data[2000:] if damaged else data
        message = CompressedImage(format="jpeg", data=array.array("B", content))
        message.header.stamp.sec = stamp
        return message

    return make


@pytest.mark.parametrize(("policy", "processed", "failed"), [("refuse", 1, 2), ("use", 3, 0)])
def test_damaged_images_are_refused_or_used_and_reported(
    make_node, feed, jpegs, wait_for, wait_for_status, policy, processed, failed
):
    node = make_node(image_transport="compressed", damaged_images=policy)
    wait_for(lambda: node.cameras[0].active, "the active state")
    statistics = node.cameras[0].statistics
    for stamp, damaged in ((1, True), (2, False), (3, True)):
        feed(node, jpegs(stamp, damaged))
        wait_for(lambda done=stamp: statistics.processed + statistics.failed == done, "the image")
    assert (statistics.processed, statistics.failed) == (processed, failed)
    assert statistics.damaged == 2
    status = wait_for_status("processing", [WARN], "JPEG is damaged")
    assert {pair.key: pair.value for pair in status.values}["damaged"] == "2"


def test_the_policy_may_change_while_the_node_runs(
    make_node, feed, jpegs, wait_for, set_parameter
):
    node = make_node(image_transport="compressed")
    wait_for(lambda: node.cameras[0].active, "the active state")
    statistics = node.cameras[0].statistics
    feed(node, jpegs(1, damaged=True))
    wait_for(lambda: statistics.failed == 1, "the refusal")
    assert set_parameter("damaged_images", "use") == ""
    feed(node, jpegs(2, damaged=True))
    wait_for(lambda: statistics.processed == 1, "the image")
    assert "expected one of refuse, use" in set_parameter("damaged_images", "mend")


def test_twelve_bit_images_are_reported_until_their_white_is_set(
    make_node, feed, make_image, wait_for, wait_for_status, set_parameter, fake_pipeline
):
    node = make_node()
    wait_for(lambda: node.cameras[0].active, "the active state")
    statistics, stamp = node.cameras[0].statistics, iter(range(1, 1000))

    def image():
        message = make_image(next(stamp), encoding="mono16", bytes_per_pixel=2)
        message.data = array.array("B", np.full(60 * 80, 4095, "<u2").tobytes())
        done = statistics.processed
        feed(node, message)
        wait_for(lambda: statistics.processed > done, "the image")

    for _ in range(30):
        image()
    wait_for_status("processing", [WARN], "set mono16_white: 4095")
    assert set_parameter("mono16_white", 4095) == ""
    image()
    wait_for_status("processing", [OK])
    assert fake_pipeline.images[-1][0].max() == 255
