"""Images that cannot be read: counted, listed, and the others are processed."""

import json

import cv2
import numpy as np
import pytest

from rmpsam_ros.recordings.errors import RecordingError

from .conftest import SECOND, START, scene


def jpeg(index=0):
    return cv2.imencode(".jpg", scene(index))[1].reshape(-1)


def raw(**changes):
    """Write an image message with wrong fields."""

    def put(bag, stamp):
        types = bag.types
        fields = {"height": 60, "width": 80, "encoding": "rgb8", "step": 240}
        fields["data"] = np.zeros(60 * 240, np.uint8)
        message = types.Image(header=bag.header(stamp), **(fields | changes))
        bag.writer.write("/image", stamp, message)

    return put


def compressed(data):
    return lambda bag, stamp: bag.compressed("/image", stamp, None, data=data)


def cut_off(bag, stamp):
    """A message of which the end is missing."""
    message = bag.types.Image(header=bag.header(stamp), height=60, width=80, encoding="rgb8")
    message.data = np.zeros(500, np.uint8)
    bag.image("/image", stamp - 1, scene(0))
    connection = bag.writer._connections["/image", "sensor_msgs/msg/Image"]
    bag.writer._put(connection, stamp, bag.types.serialize(message)[:100])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (raw(encoding="32FC1"), "'32FC1' is not supported"),
        (raw(encoding=""), "is not supported"),
        (raw(step=10), "step is 10"),
        (raw(data=np.zeros(7, np.uint8)), "data has 7 bytes"),
        (raw(height=0), "80 x 0 pixels"),
        (raw(width=2**31), "at most"),
        (compressed(jpeg()[:300]), "JPEG is cut off"),
        (compressed(np.zeros(0, np.uint8)), "expected JPEG or PNG"),
        (compressed(np.frombuffer(b"\x89PNG\r\n\x1a\n", np.uint8)), "PNG is cut off"),
        (cut_off, "bytes are no sensor_msgs/msg/Image"),
    ],
)
def test_one_that_cannot_be_read_is_counted_and_named(
    write_bag, tmp_path, process, read, bad, reason
):
    of_jpeg = reason.startswith(("JPEG", "PNG", "expected JPEG"))

    def fill(bag):
        for k in range(3):
            stamp = START + k * SECOND
            if k == 1:
                bad(bag, stamp)
            elif of_jpeg:
                bag.compressed("/image", stamp, scene(k))
            else:
                bag.image("/image", stamp, scene(k))

    report = process(write_bag(tmp_path / "bag", fill), tmp_path / "out")
    good = 3 if bad is cut_off else 2
    assert (report.frames, report.failed) == (good, 1)
    (line,) = report.losses()
    assert line.startswith("1 images: ")
    assert reason in line
    written = json.loads((tmp_path / "out" / "rmpsam.json").read_text())
    assert sum(written["cameras"][""]["failed"].values()) == 1
    assert len(read(tmp_path / "out")["/rmpsam/tracks"]) == good


def test_a_recording_of_which_no_image_can_be_read_is_refused(write_bag, tmp_path, process):
    bag = write_bag(tmp_path / "bag", lambda one: compressed(jpeg()[:300])(one, START))
    with pytest.raises(RecordingError, match="no image could be processed: 1 images: JPEG"):
        process(bag, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_of_a_broken_recording_the_whole_part_is_processed(write_bag, tmp_path, process, read):
    def fill(bag):
        for k in range(8):
            noise = np.random.default_rng(k).integers(0, 256, (400, 400, 3), np.uint8)
            bag.image("/image", START + k * SECOND, noise)

    bag = write_bag(tmp_path / "bag", fill)
    data = (bag / "bag.mcap").read_bytes()
    (bag / "bag.mcap").write_bytes(data[: len(data) // 2])
    report = process(bag, tmp_path / "out")
    assert report.frames == 3
    assert any("breaks off" in line for line in report.losses())
    assert len(read(tmp_path / "out")["/rmpsam/tracks"]) == 3
