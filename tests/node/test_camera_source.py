"""The camera source: what it reads, what it publishes, and how it ends."""

import signal
import time

import cv2
import numpy as np
import pytest

from rmpsam_ros.geometry import camera_model
from rmpsam_ros.video.frame_sources import IMAGE_RATE, SourceError, open_source

COLORS = [(250, 20, 30), (10, 240, 60), (40, 50, 230)]  # BGR


@pytest.fixture
def folder(tmp_path):
    for number, color in enumerate(COLORS):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 64, 3), color, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
    for color in COLORS:
        writer.write(np.full((48, 64, 3), color, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(("kind", "rate"), [("folder", IMAGE_RATE), ("video", 25.0)])
def test_files_are_read_in_order_and_again(request, kind, rate):
    source = open_source(str(request.getfixturevalue(kind)))
    assert source.rate == pytest.approx(rate)
    for _ in range(2):
        frames = list(source.frames())
        assert len(frames) == len(COLORS)
        for frame, color in zip(frames, COLORS, strict=True):
            assert frame.shape == (48, 64, 3)
            assert np.abs(frame[24, 32].astype(int) - color).max() < 12
    source.close()


def test_an_image_is_no_video_of_its_neighbours(folder):
    source = open_source(str(folder / "1.png"))
    assert source.rate == IMAGE_RATE
    for _ in range(2):
        (frame,) = source.frames()
        assert frame[24, 32].tolist() == list(COLORS[1])


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "image.png").write_text("no image")
    for source, words in (
        ("", "source is not set"),
        (str(tmp_path / "none.mp4"), "does not exist"),
        (str(tmp_path / "empty"), "folder without images"),
        (str(tmp_path / "text.mp4"), "cannot be opened as a video"),
    ):
        with pytest.raises(SourceError, match=words):
            open_source(source)
    with pytest.raises(SourceError, match=r"image\.png' cannot be read"):
        list(open_source(str(tmp_path / "bad")).frames())
    with pytest.raises(SourceError, match=r"image\.png' cannot be read"):
        list(open_source(str(tmp_path / "bad" / "image.png")).frames())


@pytest.fixture
def images(listener):
    from sensor_msgs.msg import Image

    return listener.subscribe(Image, "/image", 50)


@pytest.mark.parametrize(
    ("encoding", "pixel"),
    [
        ("rgb8", [30, 20, 250]),
        ("bgr8", [250, 20, 30]),
        ("rgba8", [30, 20, 250, 255]),
        ("bgra8", [250, 20, 30, 255]),
        ("mono8", [49]),
    ],
)
def test_encodings(start_program, folder, images, wait_for, encoding, pixel):
    parameters = {"source": folder, "encoding": encoding, "frame_id": "front", "loop": True}
    started = time.time()
    program = start_program("camera_source", {**parameters, "rate": 50.0})
    wait_for(lambda: len(images) > 5, "images")
    image = images[0]
    assert (image.encoding, image.header.frame_id) == (encoding, "front")
    assert (image.height, image.width, image.step) == (48, 64, 64 * len(pixel))
    assert started - 1 < image.header.stamp.sec <= time.time()
    pixels = {tuple(one.data[: len(pixel)]) for one in images}
    assert any(np.abs(np.subtract(one, pixel)).max() <= 1 for one in pixels)
    assert program.end() == 0


def test_the_end_of_a_file_is_the_end_of_the_program(start_program, folder, images, wait_for):
    program = start_program("camera_source", {"source": folder, "width": 32, "height": 16})
    assert program.wait() == 0
    assert "end of the source after 3 images" in program.log
    assert all((image.height, image.width) == (16, 32) for image in images)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"source": "/no/such/video.mp4"}, "source '/no/such/video.mp4' does not exist"),
        ({}, "source is not set"),
        ({"source": "/tmp", "encoding": "yuv"}, "expected one of rgb8"),
        ({"source": "/tmp", "rate": -1.0}, "rate"),
    ],
)
def test_a_source_that_cannot_be_used_is_one_clear_line(start_program, parameters, words):
    program = start_program("camera_source", parameters)
    assert program.wait() == 1
    (line,) = program.log.splitlines()
    assert "not started" in line
    assert words in line


def test_best_effort_and_termination(start_program, folder, listener, wait_for):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    reliable = listener.subscribe(Image, "/image", QoSProfile(depth=5))
    best_effort = listener.subscribe(
        Image, "/image", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    program = start_program(
        "camera_source", {"source": folder, "loop": True, "reliability": "best_effort"}
    )
    wait_for(lambda: listener.node.count_publishers("/image"), "the publisher")
    (info,) = listener.node.get_publishers_info_by_topic("/image")
    assert info.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT
    wait_for(lambda: len(best_effort) > 3, "images")
    assert not reliable
    assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("encoding", ["rgb8", "jpeg"])
def test_every_image_has_a_calibration(start_program, listener, folder, wait_for, encoding):
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

    kind, topic = (Image, "/cam/image") if encoding == "rgb8" else (
        CompressedImage, "/cam/image/compressed")  # fmt: skip
    images = listener.subscribe(kind, topic, 50)
    infos = listener.subscribe(CameraInfo, "/cam/camera_info", 50)
    parameters = {"source": str(folder), "loop": True, "rate": 20.0, "encoding": encoding}
    start_program("camera_source", parameters | {"field_of_view": 90}, {"image": "/cam/image"})
    wait_for(lambda: len(images) > 3 and len(infos) > 3, "images with their calibration")
    stamp = images[-2].header.stamp
    wait_for(lambda: (stamp.sec, stamp.nanosec) in [
        (info.header.stamp.sec, info.header.stamp.nanosec) for info in infos
    ], "the calibration of that image")  # fmt: skip
    info = infos[-1]
    assert (info.width, info.height, info.header.frame_id) == (64, 48, "camera")
    assert info.k[0] == pytest.approx(32.0), "90 degrees: half of the width"
    model = camera_model(info, rectified=False)
    model.check_size(48, 64)


def test_no_calibration_where_none_is_wanted(start_program, listener, folder, wait_for):
    from sensor_msgs.msg import Image

    # Topics of its own: programs of earlier tests may still be announced.
    images = listener.subscribe(Image, "/plain/image", 50)
    parameters = {"source": str(folder), "loop": True, "rate": 20.0, "field_of_view": 0.0}
    start_program("camera_source", parameters, {"image": "/plain/image"})
    wait_for(lambda: len(images) > 3, "images")
    assert not listener.node.get_publishers_info_by_topic("/plain/camera_info")
