"""Results in messages: every field, and the fast way of filling large ones."""

import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rmpsam_ros.msg import InstanceTrack, InstanceTrackArray, PanopticSegmentation
from rmpsam_ros.node.results.messages import MESSAGES, array_field
from rmpsam_ros.segmentation.results import PanopticResult
from rmpsam_ros.segmentation.run_length import decode_id_map, encode_mask
from rmpsam_ros.tracking import TrackState

HEIGHT, WIDTH = 60, 80


@pytest.fixture
def header():
    header = Header(frame_id="front/camera optical")
    header.stamp.sec, header.stamp.nanosec = 12, 345678901
    return header


@pytest.fixture
def result(fake_pipeline):
    return fake_pipeline.process(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 12.345678901)


def box(region):
    return (region.x_offset, region.y_offset, region.width, region.height)


def test_panoptic(header, result, fake_pipeline):
    message = PanopticSegmentation()
    assert MESSAGES.fill_panoptic(message, header, result, fake_pipeline.label_set) is message
    assert message.header == header
    assert (message.height, message.width) == (HEIGHT, WIDTH)
    stuff, thing = message.segments
    assert (stuff.id, stuff.class_id, stuff.class_name) == (1, 132, "rug-merged")
    assert (stuff.is_thing, stuff.score, stuff.track_id) == (False, 0.75, 0)
    assert box(stuff.box) == (0, 0, WIDTH, HEIGHT - 1)
    assert (thing.id, thing.class_id, thing.class_name) == (2, 0, "person")
    assert (thing.is_thing, thing.score, thing.track_id) == (True, 0.5, 7)
    assert (thing.area, box(thing.box)) == (30 * 40, (0, 0, 40, 30))
    decoded = decode_id_map(message.run_ids, message.run_lengths, HEIGHT, WIDTH)
    np.testing.assert_array_equal(decoded, result.panoptic.id_map)


def test_tracks(header, result, fake_pipeline):
    message = InstanceTrackArray()
    assert MESSAGES.fill_tracks(message, header, result, fake_pipeline.label_set) is message
    assert message.header == header
    seen, lost = message.tracks
    assert (seen.id, seen.state, seen.class_name) == (7, InstanceTrack.CONFIRMED, "person")
    assert (seen.score, seen.hits, seen.segment_id) == (0.5, 9, 2)
    assert (seen.age.sec, seen.age.nanosec) == (1, 500_000_000)
    expected = encode_mask(result.panoptic.id_map == 2)
    assert box(seen.mask.box) == (0, 0, 40, 30)
    assert (seen.mask.height, seen.mask.width) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(seen.mask.counts, expected.counts)
    assert (lost.id, lost.state, lost.class_name) == (5, InstanceTrack.LOST, "bicycle")
    assert (lost.segment_id, len(lost.mask.counts), box(lost.mask.box)) == (0, 0, (0, 0, 0, 0))
    assert (lost.mask.height, lost.mask.width) == (HEIGHT, WIDTH)


def shifted(result):
    """Another result of another size: one track and segment more, what was seen is lost."""
    thing, (seen, lost) = result.panoptic.segments[1], result.tracks
    segments = (
        *(replace(one, class_id=5, is_thing=not one.is_thing) for one in result.panoptic.segments),
        replace(thing, id=3, score=1.0, area=7, box=(3, 2, 9, 4)),
    )
    tracks = (
        replace(seen, id=8, state=TrackState.LOST, class_id=3, hits=1, segment_id=0),
        replace(lost, id=9, state=TrackState.TENTATIVE, score=1.0, first_seen=0.0, segment_id=3),
        replace(lost, id=10),
    )
    mask = np.zeros((20, 30), bool)
    mask[2:4, 3:9] = True
    return replace(
        result,
        height=20,
        width=30,
        panoptic=PanopticResult(np.full((20, 30), 3, np.uint16), segments),
        run_ids=result.run_ids[:1],
        run_lengths=np.array([600], np.uint32),
        tracks=tracks,
        track_masks={9: encode_mask(mask)},
        track_ids={3: 9},
    )


@pytest.mark.parametrize(
    ("fill", "make"),
    [
        (MESSAGES.fill_panoptic, PanopticSegmentation),
        (MESSAGES.fill_tracks, InstanceTrackArray),
    ],
)
def test_nothing_of_the_message_before_is_left(fill, make, header, result, fake_pipeline):
    labels, used = fake_pipeline.label_set, make()
    other = shifted(result)
    nothing = replace(other, panoptic=PanopticResult(other.panoptic.id_map, ()), tracks=())
    for number, one in enumerate((result, other, result, nothing, other, result)):
        stamped = Header(frame_id=f"frame {number}")
        assert fill(used, stamped, one, labels) == fill(make(), stamped, one, labels)


def test_label_table(fake_pipeline):
    table = MESSAGES.label_table(fake_pipeline.label_set)
    assert (table.name, table.unlabelled, len(table.labels)) == ("coco_panoptic", 255, 133)
    person = table.labels[0]
    assert (person.class_id, person.name, person.is_thing) == (0, "person", True)
    assert (person.red, person.green, person.blue) == fake_pipeline.label_set.labels[0].color
    assert [one.class_id for one in table.labels] == list(range(133))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, (0, 0)),
        (1.25, (1, 250_000_000)),
        (0.9999999999, (1, 0)),
        (-0.5, (0, 0)),
        (100000.5, (100000, 500_000_000)),
    ],
)
def test_durations(seconds, expected):
    duration = MESSAGES.duration(seconds)
    assert (duration.sec, duration.nanosec) == expected


PIXELS = np.arange(HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3)
PICTURES = {
    "mono8": PIXELS[..., 0].astype(np.uint8),
    "16UC1": PIXELS[..., 0].astype(np.uint16),
    "rgb8": PIXELS.astype(np.uint8),
    "bgr8": PIXELS.astype(np.uint8)[..., ::-1],  # not contiguous
}


@pytest.mark.parametrize("encoding", PICTURES)
def test_images(header, encoding):
    pixels, message = PICTURES[encoding], Image()
    for expected in (pixels, pixels[::-1], pixels[:7, :5]):  # new, used again, another size
        MESSAGES.fill_image(message, header, expected, encoding)
        assert message.header == header
        assert (message.height, message.width) == expected.shape[:2]
        assert message.encoding == encoding
        assert message.step * message.height == len(message.data)
        data = np.frombuffer(message.data, pixels.dtype).reshape(expected.shape)
        np.testing.assert_array_equal(data, expected)


def test_a_message_that_is_used_again_keeps_its_buffer(header):
    message = Image()
    MESSAGES.fill_image(message, header, PICTURES["rgb8"], "rgb8")
    address = message.data.buffer_info()[0]
    MESSAGES.fill_image(message, header, PICTURES["rgb8"] + 1, "rgb8")
    assert message.data.buffer_info()[0] == address


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_array_fields_hold_the_values(dtype):
    values = np.arange(1000, dtype=dtype)[::3]
    np.testing.assert_array_equal(array_field(values), values)
    assert len(array_field(values[:0])) == 0


def test_filling_a_full_hd_label_image_is_fast(header):
    """Element by element it takes more than 100 ms; the limit leaves room for a busy machine."""
    pixels, message, times = np.zeros((1080, 1920), np.uint16), Image(), []
    for _ in range(10):
        started = time.thread_time()
        MESSAGES.fill_image(message, header, pixels, "16UC1")
        times.append(time.thread_time() - started)
    assert min(times) < 0.02
