"""Masks of classes with their camera_info, and detections of vision_msgs."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from rmpsam_ros.node.input.calibration import calibration_topic
from rmpsam_ros.node.results import detections
from rmpsam_ros.node.topic_names import TopicNames


@pytest.fixture
def masks(make_node, listener, feed, make_image, wait_for):
    """A node, the masks and infos that come from it, and a way to give it an image."""

    def start(**parameters):
        node = make_node(**parameters)
        consumers = node.cameras[0].publishers._consumers
        images = listener.subscribe(Image, "/rmpsam/mask/image")
        infos = listener.subscribe(CameraInfo, "/rmpsam/mask/camera_info")
        for publisher in consumers.all[-2:]:
            wait_for(publisher.get_subscription_count, "a subscriber")
        wait_for(lambda: node.cameras[0].active, "the active state")

        def give(stamp):
            before = node.cameras[0].statistics.processed
            feed(node, make_image(stamp, frame_id="eye"))
            wait_for(lambda: node.cameras[0].statistics.processed > before, "a result")

        return node, images, infos, give

    return start


def make_info(height=60, width=80):
    info = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.1] * 5)
    info.header.frame_id = "driver"
    info.k = [float(one) for one in (9, 0, 8, 0, 7, 6, 0, 0, 1)]
    return info


def calibrate(node, info):
    node.cameras[0].publishers._consumers._calibration.subscription.callback(info)


def test_a_mask_and_its_camera_info_have_the_header_of_the_image(masks, wait_for):
    node, images, infos, give = masks(mask_classes="car, person")
    calibrate(node, make_info())
    give(12.5)
    wait_for(lambda: images and infos, "mask and camera_info")
    mask, info = images[0], infos[0]
    assert mask.header == info.header
    assert (mask.header.frame_id, mask.header.stamp.sec) == ("eye", 12)
    assert (mask.encoding, mask.height, mask.width, mask.step) == ("mono8", 60, 80, 80)
    pixels = np.frombuffer(mask.data, np.uint8).reshape(60, 80)
    expected = np.zeros((60, 80), np.uint8)
    expected[:30, :40] = 255
    np.testing.assert_array_equal(pixels, expected)
    assert list(info.k) == list(make_info().k) and list(info.d) == [0.1] * 5
    assert (info.height, info.width) == (60, 80)


def test_a_camera_info_of_another_size_is_not_passed_on(masks, wait_for):
    node, images, infos, give = masks(mask_classes="person")
    calibrate(node, make_info(480, 640))
    give(1.0)
    wait_for(lambda: images, "a mask")
    calibrate(node, make_info())
    give(2.0)
    wait_for(lambda: infos, "camera_info")
    assert infos[0].header.stamp.sec == 2


def test_without_classes_there_is_no_mask_and_they_change_live(masks, listener, wait_for):
    _, images, _, give = masks()
    give(1.0)

    def change(value):
        parameters = [Parameter("mask_classes", value=value).to_parameter_msg()]
        request = SetParameters.Request(parameters=parameters)
        return listener.call(SetParameters, "/rmpsam/set_parameters", request).results[0]

    refused = change("person, unicorn")
    assert not refused.successful
    assert "mask_classes names 'unicorn'" in refused.reason
    assert change("person").successful
    give(2.0)
    wait_for(lambda: images, "a mask")
    assert images[0].header.stamp.sec == 2


@pytest.mark.parametrize(
    ("remappings", "expected"),
    [
        ({}, "/camera_info"),
        ({"image": "/front/image_raw"}, "/front/camera_info"),
        ({"image": "/a/b/color/image_raw"}, "/a/b/color/camera_info"),
        ({"image": "/front/image_raw", "camera_info": "/calibration"}, "/calibration"),
    ],
)
def test_where_camera_info_is_expected(ros, remappings, expected):
    rules = [word for old, new in remappings.items() for word in ("-r", f"{old}:={new}")]
    node = ros.create_node("named", cli_args=["--ros-args", *rules] if rules else None)
    try:
        assert calibration_topic(node, TopicNames()) == expected
    finally:
        node.destroy_node()


def test_camera_info_of_one_of_several_cameras(ros):
    node = ros.create_node("named", cli_args=["--ros-args", "-r", "front/image:=/f/image_raw"])
    try:
        assert calibration_topic(node, TopicNames("front")) == "/f/camera_info"
        assert calibration_topic(node, TopicNames("rear")) == "/rear/camera_info"
    finally:
        node.destroy_node()


def test_detections_are_there_where_vision_msgs_is(make_node):
    node = make_node(use_depth=True)
    topics = {publisher.topic_name for publisher in node.cameras[0].publishers.all}
    wanted = {"/rmpsam/detections", "/rmpsam/detections_3d"}
    assert topics & wanted == (wanted if detections.installed() else set())


def test_detections_are_the_tracks(make_node, listener, feed, make_image, wait_for):
    messages = pytest.importorskip(
        "vision_msgs.msg", reason="vision_msgs is not installed; it is optional"
    )
    node = make_node()
    received = listener.subscribe(messages.Detection2DArray, "/rmpsam/detections")
    publisher = node.cameras[0].publishers._consumers.all[0]
    wait_for(publisher.get_subscription_count, "a subscriber")
    wait_for(lambda: node.cameras[0].active, "the active state")
    feed(node, make_image(12.5, frame_id="eye"))
    wait_for(lambda: received, "detections")
    (detection,) = received[0].detections
    assert received[0].header == detection.header
    assert detection.header.frame_id == "eye"
    assert detection.id == "7"
    (result,) = detection.results
    assert result.hypothesis.class_id == "person"
    assert result.hypothesis.score == pytest.approx(0.5)
    center = detection.bbox.center.position
    assert (center.x, center.y) == (19.5, 14.5)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (40.0, 30.0)


def test_detections_in_space():
    pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed; it is optional")
    from std_msgs.msg import Header

    from rmpsam_ros.geometry import LocatedTrack, ObjectPosition
    from rmpsam_ros.segmentation.labels import load_label_set
    from rmpsam_ros.tracking import Track, TrackState

    place = ObjectPosition(
        position=np.array([1.0, 2.0, 3.0]),
        covariance=np.arange(9.0).reshape(3, 3),
        box_center=np.array([4.0, 5.0, 6.0]),
        box_size=np.array([0.1, 0.2, 0.3]),
        coverage=0.5,
    )
    track = Track(9, TrackState.CONFIRMED, 2, 0.75, 0.0, 1.0, 5, 1)
    header = Header(frame_id="eye")
    message = detections.detections_3d_message(
        header, [LocatedTrack(track, place)], load_label_set("coco_panoptic")
    )
    (detection,) = message.detections
    assert (message.header, detection.header, detection.id) == (header, header, "9")
    (result,) = detection.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("car", 0.75)
    assert result.pose.pose.position.y == 2.0
    assert detection.bbox.center.position.z == 6.0
    assert detection.bbox.center.orientation.w == 1.0
    assert detection.bbox.size.x == 0.1
    covariance = np.array(result.pose.covariance).reshape(6, 6)
    np.testing.assert_array_equal(covariance[:3, :3], place.covariance)
    assert not covariance[3:].any()
