"""Images published from their buffers arrive as if they had been published as others are."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.qos import HistoryPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from rmpsam_ros.node.process import rclpy_version
from rmpsam_ros.node.results import borrowing

ALL = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100)


@pytest.fixture(autouse=True)
def forget():
    """The answer is found once in a process."""
    borrowing.is_possible.cache_clear()
    yield
    borrowing.is_possible.cache_clear()


@pytest.fixture
def publisher(ros):
    """A publisher in a node that nobody spins, as the threads of the node use theirs."""
    node = ros.create_node("borrowing")
    yield node.create_publisher(Image, "/borrowed", ALL)
    node.destroy_node()


def make(height, width, encoding="16UC1", step=None, frame_id="camera", seed=0):
    step = 2 * width if step is None else step
    image = Image(height=height, width=width, encoding=encoding, step=step)
    image.header.frame_id = frame_id
    image.header.stamp.sec, image.header.stamp.nanosec = -3, 999_999_999
    rng = np.random.default_rng(seed)
    image.data = array("B", rng.integers(0, 256, height * step, np.uint8).tobytes())
    return image


def test_it_is_possible_where_it_is_known_to_be():
    assert borrowing.is_possible() == (rclpy_version() in borrowing.KNOWN_RELEASES)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(make(240, 320), id="large"),
        pytest.param(make(1080, 1920), id="1080p"),
        pytest.param(make(10, 10), id="small"),
        pytest.param(make(240, 321, "mono8", 512), id="padded rows"),
        pytest.param(make(240, 320, frame_id=""), id="no frame"),
        pytest.param(make(240, 320, frame_id="Kamera größer/" + 300 * "x"), id="long frame"),
        pytest.param(make(240, 320, encoding=""), id="no encoding"),
        pytest.param(Image(height=4, width=4), id="no data"),
    ],
)
@pytest.mark.parametrize("possible", [True, False])
def test_every_field_arrives(publisher, listener, wait_for, monkeypatch, image, possible):
    if not possible:
        monkeypatch.setattr(borrowing, "is_possible", lambda: False)
    received = listener.subscribe(Image, "/borrowed", ALL)
    wait_for(publisher.get_subscription_count, "a subscriber")
    borrowing.publish(publisher, image)
    wait_for(lambda: received, "the image")
    assert received == [image]


def test_the_buffer_may_be_filled_again_at_once(publisher, listener, wait_for):
    received = listener.subscribe(Image, "/borrowed", ALL)
    wait_for(publisher.get_subscription_count, "a subscriber")
    image = make(300, 400)
    pixels = np.frombuffer(image.data, np.uint8)
    for value in range(20):
        pixels[:] = value
        image.header.stamp.sec = value
        borrowing.publish(publisher, image)
    pixels[:] = 99
    wait_for(lambda: len(received) == 20, "all images")
    assert [one.header.stamp.sec for one in received] == list(range(20))
    assert [set(one.data) for one in received] == [{value} for value in range(20)]


def test_large_images_take_the_short_way(publisher, monkeypatch):
    if not borrowing.is_possible():
        pytest.skip("this release of rclpy is not known to allow it")
    copied = []
    monkeypatch.setattr(publisher, "publish", copied.append)
    small, large = make(10, 10), make(300, 400)
    borrowing.publish(publisher, large)
    assert copied == []
    borrowing.publish(publisher, small)
    assert copied == [small]


def test_other_messages_are_published(ros, listener, wait_for):
    node = ros.create_node("borrowing")
    publisher = node.create_publisher(String, "/text", 10)
    received = listener.subscribe(String, "/text")
    wait_for(publisher.get_subscription_count, "a subscriber")
    borrowing.publish(publisher, String(data="x" * 200_000))
    wait_for(lambda: received, "the text")
    node.destroy_node()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KNOWN_RELEASES", ()),
        ("FIELDS", {}),
        ("HEADER_FIELDS", {"stamp": "builtin_interfaces/Time"}),
    ],
)
def test_what_is_not_known_is_not_tried(monkeypatch, name, value):
    monkeypatch.setattr(borrowing, name, value)
    assert not borrowing.is_possible()


def test_another_layout_is_noticed(monkeypatch):
    class Moved(borrowing.ctypes.Structure):
        _fields_ = (("first", borrowing.ctypes.c_uint64), *borrowing._Image._fields_)

    assert borrowing._layout_fits() or rclpy_version() not in borrowing.KNOWN_RELEASES
    monkeypatch.setattr(borrowing, "_Image", Moved)
    assert not borrowing._layout_fits()


def test_a_destroyed_publisher_fails_as_always(ros):
    node = ros.create_node("borrowing")
    publisher = node.create_publisher(Image, "/borrowed", 10)
    node.destroy_publisher(publisher)
    image = make(300, 400)
    with pytest.raises(Exception) as plain:
        publisher.publish(image)
    with pytest.raises(type(plain.value)):
        borrowing.publish(publisher, image)
    node.destroy_node()
