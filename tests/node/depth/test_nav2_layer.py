"""What Nav2's semantic segmentation layer asks of its inputs, on the messages that it gets.

Its conditions as it checks them, or breaks without: same number of pixels in mask, confidence and
cloud, mono8, x, y and z as float32, points without depth not finite, stamps within 0.1 s, names of
classes before the first image. It subscribes with best effort.
"""

from __future__ import annotations

from array import array
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from rmpsam_ros.messages import label_names, pixels
from rmpsam_ros.msg import LabelTable

HEIGHT, WIDTH, FOCAL, CX, CY = 60, 80, 100.0, 39.5, 29.5
NEAR, FAR, FIRST_ROW_WITH_DEPTH = 2.0, 5.0, 7
MAX_INTERVAL = 0.1  # seconds between the stamps of the three
LAYER = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=5,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def nanoseconds(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture
def send(listener, make_image):
    """Publish an image, its calibration and its depth, which begins below the first rows."""
    seconds = count(1)
    publishers = [
        listener.node.create_publisher(kind, topic, 10)
        for kind, topic in ((CameraInfo, "/camera_info"), (Image, "/depth"), (Image, "/image"))
    ]

    def publish():
        image = make_image(float(next(seconds)), HEIGHT, WIDTH)
        info = CameraInfo(header=image.header, height=HEIGHT, width=WIDTH)
        info.k = [FOCAL, 0.0, CX, 0.0, FOCAL, CY, 0.0, 0.0, 1.0]
        metres = np.full((HEIGHT, WIDTH), NEAR, np.float32)
        metres[:, WIDTH // 2 :] = FAR
        metres[:FIRST_ROW_WITH_DEPTH] = np.nan
        depth = Image(header=image.header, height=HEIGHT, width=WIDTH, encoding="32FC1")
        depth.step, depth.data = 4 * WIDTH, array("B", metres.tobytes())
        for publisher, message in zip(publishers, (info, depth, image), strict=True):
            publisher.publish(message)
        return image

    return publish


@pytest.fixture
def received(make_node, listener, send, wait_for):
    """A mask, a confidence, an organized and a compact cloud of one image; and the node."""
    node = make_node(use_depth=True, cloud_stride=3, cloud_rate=120.0)
    topics = {
        "mask": (Image, "/rmpsam/panoptic/semantic"),
        "confidence": (Image, "/rmpsam/panoptic/confidence"),
        "cloud": (PointCloud2, "/rmpsam/organized_cloud"),
        "compact": (PointCloud2, "/rmpsam/labelled_cloud"),
    }
    lists = {name: listener.subscribe(*topic, profile=LAYER) for name, topic in topics.items()}

    def match():
        send()
        stamps = [{nanoseconds(one) for one in list(messages)} for messages in lists.values()]
        return set.intersection(*stamps)

    stamp = min(wait_for(match, "all of one image"))
    found = {
        name: next(one for one in messages if nanoseconds(one) == stamp)
        for name, messages in lists.items()
    }
    return SimpleNamespace(node=node, **found)


def places(cloud):
    """x, y and z of a cloud, (N, 3), as its fields say."""
    fields = {field.name: field for field in cloud.fields}
    assert all(fields[name].datatype == PointField.FLOAT32 for name in "xyz")
    offsets = [fields[name].offset for name in "xyz"]
    layout = {"names": list("xyz"), "formats": ["f4"] * 3, "offsets": offsets}
    points = np.frombuffer(cloud.data, np.dtype(layout | {"itemsize": cloud.point_step}))
    assert len(points) == cloud.width * cloud.height
    assert cloud.row_step == cloud.width * cloud.point_step
    return np.stack([points[name] for name in "xyz"], axis=1)


def test_the_conditions_of_the_layer(received):
    mask, confidence, cloud = received.mask, received.confidence, received.cloud
    for image in (mask, confidence):
        assert (image.encoding, image.height, image.width) == ("mono8", HEIGHT, WIDTH)
        assert len(image.data) == image.step * image.height == HEIGHT * WIDTH
    assert (cloud.height, cloud.width) == (mask.height, mask.width)
    assert cloud.header.frame_id == "camera"  # which tf knows
    stamps = [nanoseconds(one) for one in (mask, confidence, cloud)]
    assert max(stamps) - min(stamps) < MAX_INTERVAL * 1e9
    assert len(set(stamps)) == 1  # use_approximate_time_sync may be false
    assert not cloud.is_dense


def test_pixels_and_points_belong_together(received, fake_pipeline):
    points = places(received.cloud).reshape(HEIGHT, WIDTH, 3)
    known = np.isfinite(points).all(axis=2)
    assert not np.isfinite(points[~known]).any()
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[FIRST_ROW_WITH_DEPTH:] = True
    np.testing.assert_array_equal(known, expected)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    z = np.where(x < WIDTH // 2, NEAR, FAR)
    wanted = np.stack([(x - CX) / FOCAL * z, (y - CY) / FOCAL * z, z], axis=2)
    np.testing.assert_allclose(points[known], wanted[known], rtol=1e-5, atol=1e-6)

    classes, confidence = pixels(received.mask), pixels(received.confidence)
    person = np.zeros((HEIGHT, WIDTH), bool)
    person[: HEIGHT // 2, : WIDTH // 2] = True
    np.testing.assert_array_equal(classes == 0, person)
    assert (confidence[person] == 128).all()  # 0.5
    nothing = classes == 255
    assert nothing[-1].all() and (confidence[nothing] == 0).all()
    assert (confidence[~person & ~nothing] == 191).all()  # 0.75


def test_both_clouds_are_equal_where_both_have_points(received):
    organized = places(received.cloud).reshape(HEIGHT, WIDTH, 3)[1::3, 1::3]
    organized = organized[np.isfinite(organized).all(axis=2)]
    compact = places(received.compact)
    assert len(compact) > 100
    np.testing.assert_array_equal(organized, compact)


def test_sensor_msgs_py_reads_the_cloud(received):
    reader = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed; it is optional"
    )
    # Its reshape_organized_cloud takes height for width.
    points = reader.read_points(received.cloud).reshape(HEIGHT, WIDTH)
    assert points[FIRST_ROW_WITH_DEPTH, 0]["z"] == NEAR
    assert np.isnan(points[0, 0]["x"])


def test_names_come_to_who_subscribes_late(received, listener, wait_for):
    tables = listener.subscribe(LabelTable, "/rmpsam/label_info", LATCHED)
    wait_for(lambda: tables, "the latched table")
    names = label_names(tables[0])
    assert names[int(pixels(received.mask)[0, 0])] == "person"


def test_names_as_the_layer_reads_them(received, listener, wait_for):
    messages = pytest.importorskip(
        "vision_msgs.msg", reason="vision_msgs is not installed; it is optional"
    )
    tables = listener.subscribe(messages.LabelInfo, "/rmpsam/panoptic/label_info", LATCHED)
    wait_for(lambda: tables, "the latched table")
    assert label_names(tables[0])[0] == "person"
    assert max(one.class_id for one in tables[0].class_map) < 255  # 255 is no class
