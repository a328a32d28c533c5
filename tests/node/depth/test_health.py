"""Which problem with depth is reported, and what it says to do."""

from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rmpsam_ros.node.depth.health import DepthState, depth_problem
from rmpsam_ros.node.status import Level
from rmpsam_ros.node.topic_health import InputState, Peer

DRIVER = Peer("/driver", "sensor_msgs/msg/Image", "best effort, keep last 5", "")
DEAF = Peer("/driver", "sensor_msgs/msg/CameraInfo", "reliable", "best effort cannot serve it")
DEPTH = InputState(
    topic="/depth",
    type_name="sensor_msgs/msg/Image",
    wants="best effort, keep last 5",
    remapped="depth",
    publishers=[DRIVER],
    received=10,
    lost=0.0,
    silent_for=0.1,
    timeout=5.0,
)
INFO = replace(DEPTH, topic="/camera_info", remapped="camera_info", publishers=[])
GOOD = DepthState(
    depth=DEPTH,
    info=INFO,
    failure="",
    failed_for=1.0,
    warning="",
    missing=0,
    offset=0.001,
    tolerance=0.05,
)
SILENT = {"received": 0, "silent_for": 6.0}


@pytest.mark.parametrize(
    "state",
    [
        GOOD,
        replace(GOOD, failure="old", failed_for=11.0),
        replace(GOOD, missing=4),
        replace(GOOD, info=replace(INFO, received=0, silent_for=1.0)),
    ],
)
def test_nothing_is_wrong(state):
    assert depth_problem(state) is None


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            replace(GOOD, depth=replace(DEPTH, publishers=[], **SILENT)),
            ["no image on /depth for 6 s", "no publisher", "remap depth"],
        ),
        (
            replace(GOOD, info=replace(INFO, **SILENT)),
            ["no camera_info on /camera_info", "no publisher", "remap camera_info"],
        ),
        (
            replace(GOOD, info=replace(INFO, publishers=[DEAF], **SILENT)),
            ["/driver offers reliable", "best effort cannot serve it"],
        ),
        (
            replace(GOOD, info=replace(INFO, publishers=[DRIVER], **SILENT)),
            ["though /driver publishes there"],
        ),
        (replace(GOOD, failure="depth is 3 x 3"), ["not found in space: depth is 3 x 3"]),
        (
            replace(GOOD, missing=5, offset=-0.25),
            ["last 5 images", "-0.250 s away", "depth_tolerance is 0.05 s"],
        ),
        (replace(GOOD, missing=9, offset=None), ["last 9 images", "none came in time"]),
        (replace(GOOD, warning="odd frame"), ["odd frame"]),
    ],
)
def test_problems_say_what_to_do(state, words):
    problem = depth_problem(state)
    assert problem is not None and problem.level in (Level.WARN, Level.ERROR)
    for one in words:
        assert one in problem.text


def test_the_kind_stays_while_figures_change():
    kinds = {depth_problem(replace(GOOD, missing=count)).kind for count in (5, 6, 7)}
    assert len(kinds) == 1
