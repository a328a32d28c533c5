"""The node in this process with depth: where the fake pipeline's thing is, and what goes wrong.

The thing covers the upper left quarter of an 80 x 60 image.
"""

import dataclasses
import time
from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from visualization_msgs.msg import Marker, MarkerArray

from rmpsam_ros.msg import InstanceTrackArray, TrackPositionArray
from rmpsam_ros.node.depth import depth_thread
from rmpsam_ros.node.parameters.parameter import ParameterError

HEIGHT, WIDTH = 60, 80
FOCAL, CX, CY = 100.0, 39.5, 29.5
THING, WALL = 2.0, 5.0  # metres


def scene(height=HEIGHT, width=WIDTH):
    """Depth of the thing and of what is behind it, metres."""
    z = np.full((height, width), WALL, np.float32)
    z[: height // 2, : width // 2] = THING
    return z


def stamped(message, stamp, frame_id):
    message.header.frame_id = frame_id
    message.header.stamp.sec = int(stamp)
    message.header.stamp.nanosec = round(stamp % 1 * 1e9)
    return message


def make_depth(stamp, z=None, encoding="32FC1", frame_id="camera"):
    z = scene() if z is None else z
    values = z if encoding == "32FC1" else np.round(1000.0 * z).astype(np.uint16)
    message = Image(height=z.shape[0], width=z.shape[1], encoding=encoding)
    message.step = values.strides[0]
    message.data = array("B", values.tobytes())
    return stamped(message, stamp, frame_id)


def make_info(height=HEIGHT, width=WIDTH, focal=FOCAL, frame_id="camera"):
    message = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = [focal, 0.0, CX, 0.0, focal, CY, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, CX, 0.0, 0.0, focal, CY, 0.0, 0.0, 0.0, 1.0, 0.0]
    return stamped(message, 1.0, frame_id)


class Rig:
    """A node with depth, and what a driver and subscribers do."""

    def __init__(self, node, listener, feed, make_image, wait_for):
        self.node, self.listener, self.wait_for = node, listener, wait_for
        self._feed, self._make_image = feed, make_image
        self.spatial = node.cameras[0].spatial
        wait_for(lambda: node.cameras[0].active, "the active state")

    def subscribe(self, kind, topic):
        received = self.listener.subscribe(kind, topic)
        publisher = next(p for p in self.spatial.all if p.topic_name == topic)
        self.wait_for(publisher.get_subscription_count, f"a publisher of {topic}")
        return received

    def info(self, **changes):
        self.spatial._calibration.subscription.callback(make_info(**changes))

    def depth(self, message):
        self.spatial.subscription.callback(message)

    def image(self, stamp, frame_id="camera", **size):
        before = self.node.cameras[0].statistics.processed
        self._feed(self.node, self._make_image(stamp, frame_id=frame_id, **size))
        self.wait_for(lambda: self.node.cameras[0].statistics.processed > before, "a result")


@pytest.fixture
def rig(make_node, listener, feed, make_image, wait_for):
    def make(**parameters):
        node = make_node(use_depth=True, **parameters)
        return Rig(node, listener, feed, make_image, wait_for)

    return make


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_the_thing_is_where_it_is(rig, wait_for, encoding):
    one = rig()
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info()
    one.depth(make_depth(5.25, encoding=encoding))
    one.image(5.26)
    wait_for(lambda: positions, "positions")
    message = positions[0]
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 260_000_000)
    assert message.header.frame_id == "camera"
    assert (message.offset.sec, message.offset.nanosec) == (-1, 990_000_000)
    (found,) = message.positions
    assert (found.id, found.state, found.class_id, found.class_name) == (7, 2, 0, "person")
    assert found.score == pytest.approx(0.5)
    middle = np.array([(19.5 - CX) / FOCAL, (14.5 - CY) / FOCAL, 1.0]) * THING
    place, center, size = found.position, found.box_center, found.box_size
    np.testing.assert_allclose([place.x, place.y, place.z], middle, atol=0.03)
    np.testing.assert_allclose([center.x, center.y, center.z], middle, atol=0.02)
    np.testing.assert_allclose([size.x, size.y], [0.8, 0.6], atol=0.04)
    assert size.z < 0.01
    assert found.coverage == 1.0
    covariance = np.array(found.covariance).reshape(3, 3)
    np.testing.assert_allclose(np.diag(covariance), [0.8**2 / 12, 0.6**2 / 12, 0.0], rtol=0.15)


def test_without_depth_tracks_flow_and_nothing_is_computed(rig, wait_for, monkeypatch):
    monkeypatch.setattr(depth_thread, "MAX_WAIT", 0.1)
    one = rig()
    tracks = one.listener.subscribe(InstanceTrackArray, "/rmpsam/tracks")
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info()
    for stamp in range(1, 8):
        one.image(float(stamp))
    wait_for(lambda: len(tracks) >= 5, "tracks")
    assert not positions
    wait_for(lambda: one.spatial.values()["results in a row without depth"], "a missing depth")


def test_depth_that_comes_later_is_waited_for(rig, wait_for):
    one = rig()
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info()
    one.image(3.0)
    time.sleep(0.2)
    assert not positions
    one.depth(make_depth(3.0))
    wait_for(lambda: positions, "positions")
    assert positions[0].header.stamp.sec == 3


def test_nothing_is_done_while_nobody_subscribes(rig):
    one = rig()
    one.info()
    one.depth(make_depth(3.0))
    one.image(3.0)
    time.sleep(0.1)
    assert one.spatial.found == 0
    assert not one.spatial._thread._waiting


def test_markers_come_and_go(rig, fake_pipeline, wait_for, monkeypatch):
    one = rig()
    arrays = one.subscribe(MarkerArray, "/rmpsam/markers")
    one.info()
    one.depth(make_depth(3.0))
    one.image(3.0)
    wait_for(lambda: arrays, "markers")
    box, name = arrays[0].markers
    assert (box.ns, box.id, box.type, box.action) == ("boxes", 7, Marker.CUBE, Marker.ADD)
    assert (name.ns, name.id, name.type) == ("names", 7, Marker.TEXT_VIEW_FACING)
    assert name.text == "person 7, 2.06 m"
    for marker in (box, name):
        assert marker.header.frame_id == "camera"
        assert marker.lifetime.sec > 0
        assert marker.color.a > 0.0
        assert marker.scale.z > 0.0
    assert box.pose.position.z == pytest.approx(THING)
    assert name.pose.position.y < box.pose.position.y

    real = fake_pipeline.finish
    monkeypatch.setattr(
        fake_pipeline,
        "finish",
        lambda *frame: dataclasses.replace(real(*frame), tracks=(), track_masks={}),
    )
    for stamp in (4.0, 5.0):
        one.depth(make_depth(stamp))
        one.image(stamp)
        wait_for(lambda stamp=stamp: len(arrays) >= stamp - 2, "an answer")
    gone = [(one.ns, one.id, one.action) for one in arrays[1].markers]
    assert gone == [("boxes", 7, Marker.DELETE), ("names", 7, Marker.DELETE)]
    assert not arrays[2].markers


def test_the_cloud_has_every_pixel_with_a_depth(rig, fake_pipeline, wait_for):
    one = rig(cloud_stride=2)
    clouds = one.subscribe(PointCloud2, "/rmpsam/labelled_cloud")
    one.info()
    z = scene()
    z[30:] = np.nan
    one.depth(make_depth(3.0, z))
    one.image(3.0)
    wait_for(lambda: clouds, "a cloud")
    cloud = clouds[0]
    assert cloud.header.frame_id == "camera" and cloud.header.stamp.sec == 3
    assert (cloud.height, cloud.width) == (1, 15 * 40)
    assert cloud.row_step == len(cloud.data) == cloud.width * cloud.point_step
    assert cloud.is_dense
    fields = {field.name: (field.offset, field.datatype, field.count) for field in cloud.fields}
    assert list(fields) == ["x", "y", "z", "rgb", "class_id", "instance_id"]
    assert fields["rgb"] == (12, PointField.FLOAT32, 1)
    points = np.frombuffer(
        cloud.data,
        np.dtype(
            {
                "names": list(fields),
                "formats": ["f4", "f4", "f4", "u4", "u2", "u2"],
                "offsets": [field[0] for field in fields.values()],
                "itemsize": cloud.point_step,
            }
        ),
    )
    thing = points[points["instance_id"] == 7]
    assert len(thing) == 15 * 20
    assert (thing["class_id"] == 0).all() and (thing["z"] == THING).all()
    wall = points[points["instance_id"] == 0]
    assert (wall["z"] == WALL).all()
    assert (wall["class_id"] == len(fake_pipeline.label_set.labels) - 1).all()
    np.testing.assert_allclose(thing["x"].min(), (1 - CX) / FOCAL * THING, rtol=1e-5)
    pixels = fake_pipeline.images[-1][0]
    red, green, blue = (int(one) for one in pixels[1, 1])
    assert points["rgb"][0] == red << 16 | green << 8 | blue


def test_the_cloud_is_readable_for_sensor_msgs_py(rig, wait_for):
    reader = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed; it is optional"
    )
    one = rig()
    clouds = one.subscribe(PointCloud2, "/rmpsam/labelled_cloud")
    one.info()
    one.depth(make_depth(3.0))
    one.image(3.0)
    wait_for(lambda: clouds, "a cloud")
    points = reader.read_points(clouds[0])
    assert len(points) == clouds[0].width
    assert {"x", "rgb", "class_id", "instance_id"} <= set(points.dtype.names)


def test_detections_in_space(rig, wait_for):
    messages = pytest.importorskip(
        "vision_msgs.msg", reason="vision_msgs is not installed; it is optional"
    )
    one = rig()
    received = one.subscribe(messages.Detection3DArray, "/rmpsam/detections_3d")
    one.info()
    one.depth(make_depth(3.0))
    one.image(3.0)
    wait_for(lambda: received, "detections")
    (detection,) = received[0].detections
    assert received[0].header.stamp.sec == 3
    assert (detection.id, detection.results[0].hypothesis.class_id) == ("7", "person")
    assert detection.bbox.center.position.z == pytest.approx(THING)
    assert detection.bbox.size.x == pytest.approx(0.8, abs=0.04)


def test_clouds_keep_their_rate(rig, wait_for):
    one = rig(cloud_rate=0.2)
    clouds = one.subscribe(PointCloud2, "/rmpsam/labelled_cloud")
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info()
    for stamp in (3.0, 4.0, 5.0):
        one.depth(make_depth(stamp))
        one.image(stamp)
        wait_for(lambda stamp=stamp: len(positions) >= stamp - 2, "positions")
    assert len(clouds) == 1


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda one: one.depth(make_depth(3.0, encoding="16UC1", frame_id="other")), "'other'"),
        (lambda one: one.depth(make_depth(3.0, scene(60, 100))), "not the same field of view"),
        (lambda one: one.info(height=480, width=640), "640 x 480 pixels, the image has 80 x 60"),
        (lambda one: one.info(focal=0.0), "not calibrated"),
        (
            lambda one: one.depth(stamped(Image(encoding="rgb8"), 3.0, "camera")),
            "encoding 'rgb8'",
        ),
        (
            lambda one: one.depth(
                stamped(Image(encoding="16UC1", height=60, width=80, step=160), 3.0, "camera")
            ),
            "0 bytes of data",
        ),
    ],
    ids=["frame", "depth size", "info size", "no calibration", "encoding", "data"],
)
def test_what_does_not_fit_is_reported_and_good_frames_follow(
    rig, wait_for, wait_for_status, broken, words
):
    one = rig()
    tracks = one.listener.subscribe(InstanceTrackArray, "/rmpsam/tracks")
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info()
    one.depth(make_depth(3.0))
    broken(one)
    one.image(3.0)
    wait_for_status("depth", {1, 2}, words)
    assert not positions
    one.info()
    one.depth(make_depth(4.0))
    one.image(4.0)
    wait_for(lambda: positions, "positions")
    wait_for(lambda: len(tracks) == 2, "tracks of both images")


def test_missing_calibration_is_reported(rig, wait_for_status):
    one = rig(input_timeout=0.3)
    one.subscribe(TrackPositionArray, "/rmpsam/positions")

    def go_on():
        one.depth(make_depth(3.0))

    wait_for_status("depth", {1}, "no camera_info on /camera_info", go_on)


def test_missing_depth_is_reported_with_its_topic(rig, wait_for_status):
    rig(input_timeout=0.3)
    status = wait_for_status("depth", {1}, "no image on /depth")
    assert {"topic", "camera_info", "depth images"} <= {one.key for one in status.values}


def test_depth_of_another_time_is_reported(rig, wait_for, wait_for_status):
    one = rig(input_timeout=60.0, depth_tolerance=0.01)
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info()
    for stamp in range(10, 20):
        one.depth(make_depth(stamp + 0.2))
        one.image(float(stamp))
        wait_for(lambda stamp=stamp: one.spatial._missing >= stamp - 9, "a missing depth")
    wait_for_status("depth", {1}, "the nearest one is +0.200 s away")
    assert not positions


def test_another_frame_of_camera_info_is_a_warning_only(rig, wait_for, wait_for_status):
    one = rig()
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info(frame_id="elsewhere")
    one.depth(make_depth(3.0))
    one.image(3.0)
    wait_for(lambda: positions, "positions")
    wait_for_status("depth", {1}, "camera_info has frame_id 'elsewhere'")


def test_time_that_goes_back_harms_nothing(rig, wait_for):
    one = rig()
    positions = one.subscribe(TrackPositionArray, "/rmpsam/positions")
    one.info()
    for stamp in (1000.0, 10.0, 11.0):
        one.depth(make_depth(stamp))
        one.image(stamp)
        wait_for(lambda stamp=stamp: positions and positions[-1].header.stamp.sec == stamp)


def test_inactive_nodes_take_no_depth(rig, change_state, get_state, wait_for):
    one = rig()
    wait_for(lambda: get_state() == "active", "the active state")
    assert change_state("deactivate")
    before = one.spatial.received
    one.depth(make_depth(3.0))
    assert one.spatial.received == before


def test_without_the_parameter_there_are_no_such_topics(make_node):
    node = make_node()
    names = {name for name, _ in node.get_topic_names_and_types()}
    assert node.cameras[0].spatial is None
    assert not names & {"/rmpsam/positions", "/rmpsam/markers", "/rmpsam/labelled_cloud"}
    assert "/depth" not in {one.topic_name for one in node.subscriptions}


def test_several_cameras_have_depth_each(make_node):
    node = make_node(use_depth=True, cameras="front,rear")
    topics = {camera.spatial.subscription.topic_name for camera in node.cameras}
    assert topics == {"/front/depth", "/rear/depth"}
    results = {one.topic_name for camera in node.cameras for one in camera.spatial.all}
    assert {"/rmpsam/front/positions", "/rmpsam/rear/markers"} <= results


def test_live_settings_are_checked(make_node):
    with pytest.raises(ParameterError, match="cloud_stride"):
        make_node(cloud_stride=0)
