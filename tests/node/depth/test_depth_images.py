"""Depth messages: units, byte order, padding, and everything malformed."""

import sys
from array import array
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rmpsam_ros.node.depth.depth_images import decode_depth
from rmpsam_ros.node.input.images import ImageError

VALUES = np.array([[1, 2, 3], [40, 500, 65535]])


def message(values=VALUES, kind=np.uint16, encoding="16UC1", padding=0, **changes):
    values = values.astype(kind)
    height, width = values.shape
    rows = values.view(np.uint8).reshape(height, -1)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=77).tobytes()
    fields = {
        "height": height,
        "width": width,
        "encoding": encoding,
        "step": rows.shape[1] + padding,
        "is_bigendian": sys.byteorder == "big",
        "data": array("B", data),
    }
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
@pytest.mark.parametrize("padding", [0, 2, 3, 10])
def test_millimetres(encoding, padding):
    values = decode_depth(message(encoding=encoding, padding=padding)).values
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize("padding", [0, 4, 5])
def test_metres(padding):
    metres = np.array([[0.5, np.nan, np.inf], [1.25, 0.0, 7.0]])
    values = decode_depth(message(metres, np.float32, "32FC1", padding)).values
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, metres.astype(np.float32))


@pytest.mark.parametrize(("kind", "encoding"), [("u2", "16UC1"), ("f4", "32FC1")])
def test_the_other_byte_order(kind, encoding):
    other = ">" if sys.byteorder == "little" else "<"
    swapped = message(VALUES, np.dtype(f"{other}{kind}"), encoding, is_bigendian=other == ">")
    values = decode_depth(swapped).values
    assert values.dtype == np.dtype(kind)
    np.testing.assert_array_equal(values, VALUES)


def test_nothing_is_copied():
    depth = message()
    assert np.shares_memory(decode_depth(depth).values, np.frombuffer(depth.data, np.uint8))


def test_the_padding_of_the_last_row_may_be_missing():
    depth = message(padding=4)
    depth.data = depth.data[:-4]
    np.testing.assert_array_equal(decode_depth(depth).values, VALUES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "rgb8"}, "'rgb8'; expected one of 16UC1, mono16, 32FC1"),
        ({"encoding": ""}, "expected one of"),
        ({"encoding": "32FC1"}, "step 6; expected at least 12"),
        ({"step": 0}, "step 0"),
        ({"step": 5}, "step 5; expected at least 6"),
        ({"height": 0}, "3 x 0"),
        ({"width": 0, "height": 0}, "0 x 0"),
        ({"height": 2**32 - 1}, "4294967295"),
        ({"width": 4, "step": 8}, "12 bytes of data; expected 16"),
        ({"height": 3}, "12 bytes of data; expected 18"),
        ({"height": 1}, "12 bytes of data; expected 6"),
        ({"data": array("B")}, "0 bytes of data"),
    ],
)
def test_malformed_messages_are_refused(changes, words):
    with pytest.raises(ImageError, match=words):
        decode_depth(message(**changes))
