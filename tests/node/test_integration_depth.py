"""The real node as a process, with depth: places, clouds, markers, and what is missing."""

import signal
from array import array
from itertools import count

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from rmpsam_ros.geometry import POINT
from rmpsam_ros.msg import InstanceTrackArray, TrackPositionArray
from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_mask

HEIGHT, WIDTH = 120, 160
FOCAL, CX, CY = 150.0, 79.5, 59.5
# Small, so that a frame takes a fraction of a second; low thresholds, so that there are many
# segments whatever the weights are.
PARAMETERS = {
    "weights": "random",
    "long_side": 96,
    "short_side": 96,
    "num_threads": 1,
    "score_threshold": 0.05,
    "overlap_threshold": 0.0,
    "prompt_engine": "rmpsam",
    "use_depth": True,
    "cloud_stride": 2,
    "input_timeout": 2.0,
}
seconds = count(1)


@pytest.fixture(scope="module")
def node(make_program):
    """The node, waiting for images and depth."""
    with make_program("rmpsam_node", PARAMETERS) as program:
        program.wait_for_log("active: waiting for Image on /image")
        yield program


@pytest.fixture
def send(node, listener, make_image):
    """Publish an image, its depth (a plane) and its calibration, as a driver does."""
    images = listener.publisher(Image, "/image")
    depths = listener.publisher(Image, "/depth")
    infos = listener.publisher(CameraInfo, "/camera_info")

    def publish(stamp, z, depth_frame="camera", with_depth=True, with_info=True):
        image = make_image(stamp, HEIGHT, WIDTH)
        if with_info:
            info = CameraInfo(header=image.header, height=HEIGHT, width=WIDTH)
            info.k = [FOCAL, 0.0, CX, 0.0, FOCAL, CY, 0.0, 0.0, 1.0]
            infos.publish(info)
        if with_depth:
            values = np.full((HEIGHT, WIDTH), round(1000 * z), np.uint16)
            depth = Image(height=HEIGHT, width=WIDTH, encoding="16UC1", step=2 * WIDTH)
            depth.data = array("B", values.tobytes())
            depth.header.stamp = image.header.stamp
            depth.header.frame_id = depth_frame
            depths.publish(depth)
        images.publish(image)
        return image.header

    return publish


@pytest.fixture
def answers(send, wait_for):
    """Send again and again, with new stamps, until a topic has an answer for a stamp sent."""

    def run(received, z, **options):
        sent = []

        def answer():
            sent.append(send(float(next(seconds)), z, **options))
            return next((one for one in list(received) if one.header in sent), None)

        return wait_for(answer, "an answer")

    return run


def test_things_of_a_scene_are_where_they_are(listener, answers, wait_for):
    tracks = listener.subscribe(InstanceTrackArray, "/rmpsam/tracks")
    positions = listener.subscribe(TrackPositionArray, "/rmpsam/positions")
    for z in (0.5, 3.0):
        found = answers(positions, z)
        same = wait_for(lambda f=found: [one for one in tracks if one.header == f.header])[0]
        masks = {track.id: track.mask for track in same.tracks if track.mask.counts}
        assert found.positions, "the network found nothing; lower the thresholds of this test"
        assert {one.id for one in found.positions} <= set(masks)
        for one in found.positions:
            mask = masks[one.id]
            left, top = mask.box.x_offset, mask.box.y_offset
            box = (left, top, left + mask.box.width, top + mask.box.height)
            runs = RunLengthMask(HEIGHT, WIDTH, box, np.array(mask.counts, np.uint32))
            rows, columns = np.nonzero(decode_mask(runs))
            pixel = z / FOCAL
            # Where the mask has many pixels they are drawn: the median may be some pixels off.
            tolerance = pixel * (1.0 + 0.1 * max(mask.box.width, mask.box.height))
            assert one.position.z == pytest.approx(z, abs=1e-4)
            expected = (np.median(columns) - CX) * pixel
            assert one.position.x == pytest.approx(expected, abs=tolerance)
            expected = (np.median(rows) - CY) * pixel
            assert one.position.y == pytest.approx(expected, abs=tolerance)
            assert one.box_size.x <= mask.box.width * pixel + 1e-6
            assert one.box_size.z == pytest.approx(0.0, abs=1e-6)
            assert one.coverage == 1.0


def test_markers_and_cloud(listener, answers):
    arrays = listener.subscribe(MarkerArray, "/rmpsam/markers")
    clouds = listener.subscribe(PointCloud2, "/rmpsam/labelled_cloud")
    cloud = answers(clouds, 2.0)
    assert [field.name for field in cloud.fields] == list(POINT.names)
    points = np.frombuffer(cloud.data, POINT)
    assert len(points) == HEIGHT * WIDTH // 4
    np.testing.assert_allclose(points["z"], 2.0)
    np.testing.assert_allclose(points["x"].max(), (WIDTH - 1 - CX) / FOCAL * 2.0, rtol=1e-5)
    boxes = [one for array in arrays for one in array.markers if one.action == Marker.ADD]
    assert boxes
    assert all(one.header.frame_id == "camera" for one in boxes)


def test_depth_of_another_frame_is_reported_and_tracks_flow(
    listener, send, answers, wait_for_status
):
    tracks = listener.subscribe(InstanceTrackArray, "/rmpsam/tracks")
    listener.subscribe(TrackPositionArray, "/rmpsam/positions")
    wait_for_status(
        "depth",
        {1},
        "depth has frame_id 'infrared'",
        lambda: send(float(next(seconds)), 1.0, depth_frame="infrared"),
    )
    assert answers(tracks, 1.0, depth_frame="infrared")


def test_without_depth_tracks_flow(listener, answers, wait_for_status):
    tracks = listener.subscribe(InstanceTrackArray, "/rmpsam/tracks")
    positions = listener.subscribe(TrackPositionArray, "/rmpsam/positions")
    before = len(positions)
    for _ in range(3):
        assert answers(tracks, 1.0, with_depth=False)
    assert len(positions) == before
    wait_for_status("depth", {1, 2}, "no image on /depth")


def test_the_end(node):
    """Last in this file: the node ends with status 0, and nothing went wrong unseen."""
    assert node.end(signal.SIGINT) == 0
    assert "Traceback" not in node.log


def test_missing_calibration_is_reported(start_program, listener, make_image, wait_for_status):
    program = start_program("rmpsam_node", PARAMETERS, {"camera_info": "/nowhere/camera_info"})
    program.wait_for_log("active: waiting for Image on /image")
    depths = listener.publisher(Image, "/depth")
    wait_for_status(
        "depth",
        {1},
        "no camera_info on /nowhere/camera_info",
        lambda: depths.publish(make_image(1.0, encoding="16UC1", bytes_per_pixel=2)),
    )
    assert program.end(signal.SIGTERM) == 0
