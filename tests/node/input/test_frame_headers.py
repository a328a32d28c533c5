"""Headers of frames: found by stamp, and bounded in number and bytes."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from std_msgs.msg import Header

from rmpsam_ros.node.input.frame_headers import MAX_BYTES, MAX_HEADERS, FrameHeaders


def header(stamp, frame_id="camera"):
    made = Header(frame_id=frame_id)
    made.stamp.sec = stamp
    return made


def test_the_oldest_go_when_there_are_many():
    headers = FrameHeaders()
    for stamp in range(MAX_HEADERS + 10):
        headers.remember(float(stamp), header(stamp))
    assert headers.find(9.0).frame_id == ""
    assert headers.find(10.0).frame_id == "camera"
    assert len(headers._headers) == MAX_HEADERS


def test_the_oldest_go_when_they_are_long():
    headers = FrameHeaders()
    for stamp in range(20):
        headers.remember(float(stamp), header(stamp, "a" * 1_000_000))
    assert sum(len(one.frame_id) for one in headers._headers.values()) <= MAX_BYTES
    assert headers.find(19.0).frame_id
    headers.remember(20.0, header(20, "b" * 2 * MAX_BYTES))
    assert list(headers._headers) == [20.0], "the newest stays, whatever it is"
    headers.remember(21.0, header(21))
    assert list(headers._headers) == [21.0]


def test_one_stamp_is_counted_once():
    headers = FrameHeaders()
    for _ in range(100):
        headers.remember(1.0, header(1, "a" * 1_000_000))
    headers.remember(2.0, header(2))
    assert list(headers._headers) == [1.0, 2.0]
    headers.clear()
    assert headers._bytes == 0 and not headers._headers
