"""What subscribers read from messages: masks, ids, names, pixels; and what is refused."""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import numpy as np
import pytest

from rmpsam_ros import messages
from rmpsam_ros.segmentation.run_length import RunLengthMask, encode_id_map, encode_mask

MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:5] = True
MASK[1, 3] = False


def as_message(mask):
    """A RunLengthMask message, with its counts as ROS 2 stores them."""
    coded = encode_mask(mask)
    x_min, y_min, x_max, y_max = coded.box
    box = SimpleNamespace(
        x_offset=x_min, y_offset=y_min, width=x_max - x_min, height=y_max - y_min
    )
    height, width = mask.shape
    return SimpleNamespace(height=height, width=width, box=box, counts=array("I", coded.counts))


FORMS = {
    "message": as_message(MASK),
    "track": SimpleNamespace(id=1, mask=as_message(MASK)),
    "result of the library": encode_mask(MASK),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_in_every_form(form):
    decoded = messages.decode(FORMS[form])
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, MASK)
    assert messages.area(FORMS[form]) == 5
    assert messages.box(FORMS[form]) == (2, 1, 5, 3)
    assert messages.run_lengths(FORMS[form]).covers(2, 1)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_an_array_is_a_mask(dtype):
    np.testing.assert_array_equal(messages.decode(MASK.astype(dtype) * dtype(1)), MASK)


def test_none_is_nothing():
    assert messages.decode(None) is None
    assert messages.run_lengths(None) is None
    assert messages.area(None) == 0
    assert messages.box(None) is None
    assert messages.decode_ids(None) is None
    assert messages.label_names(None) == {}
    assert messages.pixels(None) is None


def test_a_lost_track_has_an_empty_mask():
    empty = as_message(np.zeros((4, 6), bool))
    assert messages.decode(empty).shape == (4, 6)
    assert not messages.decode(empty).any()
    assert (messages.area(empty), messages.box(empty)) == (0, None)


@pytest.mark.parametrize(
    "value", ["mask", 5, SimpleNamespace(height=4), SimpleNamespace(mask=None)]
)
@pytest.mark.parametrize("function", [messages.decode, messages.area, messages.box])
def test_what_is_no_mask_is_refused(function, value):
    with pytest.raises(TypeError, match="expected a RunLengthMask, a message with a field mask"):
        function(value)


def test_an_array_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(height, width\), got \(4, 6, 1\)"):
        messages.decode(MASK[:, :, None])


@pytest.mark.parametrize(
    ("box", "counts", "size", "reason"),
    [
        ((2, 1, 3, 2), [0, 7], (4, 6), "counts add up to 7"),
        ((2, 1, 3, 2), [], (4, 6), "counts add up to 0"),
        ((4, 1, 3, 2), [0, 6], (4, 6), "leaves the 6 x 4 image"),
        ((0, 0, 0, 0), [], (2**16, 2**16), "at most 2147483648 pixels"),
    ],
)
@pytest.mark.parametrize("function", [messages.decode, messages.area, messages.box])
def test_a_malformed_mask_is_refused(function, box, counts, size, reason):
    names = ("x_offset", "y_offset", "width", "height")
    region = SimpleNamespace(**dict(zip(names, box, strict=True)))
    message = SimpleNamespace(height=size[0], width=size[1], box=region, counts=counts)
    with pytest.raises(ValueError, match=reason):
        function(message)


def test_a_malformed_result_of_the_library_is_refused():
    with pytest.raises(ValueError, match="counts add up to 7"):
        messages.area(RunLengthMask(4, 6, (2, 1, 5, 3), np.array([0, 7], np.uint32)))


def panoptic(height, width, ids, lengths):
    ids, lengths = array("H", ids), array("I", lengths)
    return SimpleNamespace(height=height, width=width, run_ids=ids, run_lengths=lengths)


def test_ids():
    id_map = np.array([[0, 3, 3], [3, 0, 65535]], np.uint16)
    ids, lengths = encode_id_map(id_map)
    decoded = messages.decode_ids(panoptic(2, 3, ids, lengths))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, id_map)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (panoptic(2, 3, [1], [7]), "add up to 7"),
        (panoptic(2, 3, [1, 2], [6]), "one length"),
        (panoptic(2**20, 2**20, [], []), "at most"),
    ],
)
def test_malformed_ids_are_refused(message, reason):
    with pytest.raises(ValueError, match=reason):
        messages.decode_ids(message)


def test_names_of_both_tables():
    table = SimpleNamespace(labels=[SimpleNamespace(class_id=3, name="car")])
    vision = SimpleNamespace(class_map=[SimpleNamespace(class_id=3, class_name="car")])
    assert messages.label_names(table) == messages.label_names(vision) == {3: "car"}


def image(encoding, values, step=None, big_endian=False):
    height, width = values.shape[:2]
    rows = values.tobytes()
    own = len(rows) // height
    step = own if step is None else step
    lines = [rows[k * own : (k + 1) * own].ljust(step, b"\xaa") for k in range(height)]
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=big_endian,
        data=array("B", b"".join(lines)),
    )


@pytest.mark.parametrize("gap", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "dtype", "channels"),
    [
        *(("mono8", "u1", 1), ("rgb8", "u1", 3), ("bgr8", "u1", 3)),
        *(("16UC1", "<u2", 1), ("16UC1", ">u2", 1), ("32FC1", "<f4", 1)),
    ],
)
def test_pixels(encoding, dtype, channels, gap):
    shape = (4, 5) if channels == 1 else (4, 5, channels)
    values = (np.arange(np.prod(shape)) * 3 + 1).reshape(shape).astype(dtype)
    step = values.nbytes // 4 + gap
    read = messages.pixels(image(encoding, values, step, dtype.startswith(">")))
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(read, values)


GREY = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "nv12"}, "encoding is 'nv12', expected one of mono8"),
        ({"data": array("B", bytes(19))}, "data has 19 bytes in rows of 5; expected 4 rows"),
        ({"step": 4}, "in rows of 4; expected 4 rows of at least 5"),
        ({"encoding": "rgb8"}, "of at least 15 for a rgb8 image of 5 x 4"),
        ({"height": 2**31, "width": 2**31}, "expected at most"),
    ],
)
def test_images_that_do_not_fit_are_refused(changes, reason):
    one = image("mono8", GREY)
    vars(one).update(changes)
    with pytest.raises(ValueError, match=reason):
        messages.pixels(one)
