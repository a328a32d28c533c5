"""The example consumers as programs, on real topics of a node in this process.

The node's thing covers the upper left quarter of an 80 x 60 image.
"""

from __future__ import annotations

import importlib.util
import math
from array import array
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from ament_index_python.packages import get_package_share_directory
from geometry_msgs.msg import Twist
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

HEIGHT, WIDTH, FOCAL, CX, CY = 60, 80, 100.0, 39.5, 29.5
DEPTH = 2.0  # metres


def path_of(name):
    return Path(get_package_share_directory("rmpsam_ros")) / "examples" / "python" / name


def load(name):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), path_of(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(start_program):
    """Start an example of the installed package."""
    return lambda name, *options: start_program(str(path_of(name)), *options)


@pytest.fixture
def camera(listener, make_image):
    """Publish images with calibration, and depth where there is a subscriber; as a driver does."""
    seconds = count(1)
    images = listener.node.create_publisher(Image, "/image", 10)
    infos = listener.node.create_publisher(CameraInfo, "/camera_info", 10)
    depths = listener.node.create_publisher(Image, "/depth", 10)

    def publish():
        image = make_image(float(next(seconds)), HEIGHT, WIDTH)
        info = CameraInfo(header=image.header, height=HEIGHT, width=WIDTH)
        info.k = [FOCAL, 0.0, CX, 0.0, FOCAL, CY, 0.0, 0.0, 1.0]
        infos.publish(info)
        depth = Image(header=image.header, height=HEIGHT, width=WIDTH, encoding="32FC1")
        depth.step = 4 * WIDTH
        depth.data = array("B", np.full((HEIGHT, WIDTH), DEPTH, np.float32).tobytes())
        depths.publish(depth)
        images.publish(image)
        return image

    return publish


def test_pictures_of_tracks(make_node, example, camera, wait_for, tmp_path):
    make_node()
    remappings = {"tracks": "/rmpsam/tracks"}
    program = example("track_cropper.py", {"folder": tmp_path, "period": 0.0}, remappings)
    wait_for(lambda: camera() and list(tmp_path.rglob("*.png")), "a picture")
    program.wait_for_log("saved")
    assert program.end() == 0
    paths = sorted(tmp_path.rglob("*.png"))
    assert {path.parent.name for path in paths} == {"7_person"}
    stamp = int(paths[0].stem)
    assert stamp % 1_000_000_000 == 0 and stamp > 0
    picture = cv2.imread(str(paths[0]), cv2.IMREAD_UNCHANGED)
    pixels = np.frombuffer(camera().data, np.uint8).reshape(HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(picture[:, :, 2::-1], pixels[: HEIGHT // 2, : WIDTH // 2])
    assert (picture[:, :, 3] == 255).all()
    assert "not saved" not in program.log


def test_a_person_is_followed_until_nothing_comes(make_node, example, camera, listener, wait_for):
    make_node(use_depth=True)
    commands = listener.subscribe(Twist, "/cmd_vel")
    program = example("follow_person.py", {"timeout": 0.3}, {"positions": "/rmpsam/positions"})

    def drives():
        camera()
        return [one for one in list(commands) if one.linear.x or one.angular.z]

    command = wait_for(drives, "a command")[0]
    place = np.array([(19.5 - CX) / FOCAL, 1.0]) * DEPTH  # x to the right, z forward
    angle = math.atan2(*place)
    assert command.angular.z == pytest.approx(
        -1.5 * angle, abs=0.05
    )  # it is on the left: turn left
    assert command.linear.x == pytest.approx(0.8 * (np.hypot(*place) - 1.5), abs=0.03)
    program.wait_for_log("following 7")
    wait_for(lambda: commands[-1] == Twist(), "a command to stand, when no positions come")
    drives()
    before = len(commands)
    assert program.end() == 0
    wait_for(lambda: len(commands) > before and commands[-1] == Twist(), "standing at the end")


def test_a_mask_is_where_it_meets_the_floor(make_node, example, camera, listener, wait_for):
    make_node(mask_classes="person")
    height, pitch, stride = 0.4, 0.3, 4
    clouds = listener.subscribe(PointCloud2, "/obstacles")
    program = example(
        "mask_to_costmap.py",
        {"height": height, "pitch": pitch, "stride": stride},
        {"mask": "/rmpsam/mask/image", "camera_info": "/rmpsam/mask/camera_info"},
    )
    wait_for(lambda: camera() and clouds, "obstacles")
    cloud = clouds[0]
    assert (cloud.header.frame_id, cloud.height, cloud.point_step) == ("camera", 1, 12)
    points = np.frombuffer(cloud.data, np.float32).reshape(-1, 3)
    assert len(points) == cloud.width
    columns, rows = (FOCAL * points[:, :2] / points[:, 2:] + (CX, CY)).T
    np.testing.assert_allclose(columns, np.arange(0, WIDTH // 2, stride), atol=1e-3)
    np.testing.assert_allclose(rows, HEIGHT // 2 - 1, atol=1e-3)
    down = points @ np.array([0.0, math.cos(pitch), math.sin(pitch)])
    np.testing.assert_allclose(down, height, atol=1e-5)
    assert program.end() == 0


@pytest.mark.parametrize(
    ("x", "z", "forward", "turn"),
    [
        (0.0, 1.5, 0.0, 0.0),
        (0.0, 9.0, 0.5, 0.0),  # not faster than max_speed
        (0.0, 0.5, -0.5, 0.0),  # too near: back
        (3.0, 1.0, 0.0, -1.0),  # far to the right: turn first
        (math.nan, 2.0, 0.0, 0.0),
        (0.0, math.inf, 0.0, 0.0),
    ],
)
def test_commands_stay_in_their_limits(ros, x, z, forward, turn):
    module = load("follow_person.py")
    node = module.FollowPerson()
    try:
        person = module.TrackPosition()
        person.position.x, person.position.z = x, z
        command = node._towards(person)
    finally:
        node.destroy_node()
    assert (command.linear.x, command.angular.z) == pytest.approx((forward, turn), abs=1e-9)


def test_what_meets_no_floor_is_left_out():
    module = load("mask_to_costmap.py")
    nowhere = module.lowest_pixels(np.zeros((6, 8), bool), 1)
    assert [part.size for part in nowhere] == [0, 0]
    mask = np.zeros((60, 80), bool)
    mask[0, 0] = mask[29, 4] = mask[30, 8] = mask[59, 12] = True  # the horizon lies at 29.5
    rows, columns = module.lowest_pixels(mask, 4)
    assert (rows.tolist(), columns.tolist()) == ([0, 29, 30, 59], [0, 4, 8, 12])
    k = [FOCAL, 0.0, CX, 0.0, FOCAL, CY, 0.0, 0.0, 1.0]
    places = module.on_the_floor(rows, columns, k, 0.4, 0.0, 5.0)
    assert len(places) == 1  # 30 is 80 m away
    np.testing.assert_allclose(places[0, 2], 0.4 * FOCAL / (59 - CY), rtol=1e-6)
