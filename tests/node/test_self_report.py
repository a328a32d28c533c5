"""What one camera says in the log: a problem once, and "solved" only when it is."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from sensor_msgs.msg import Image

from rmpsam_ros.node import qos, self_report
from rmpsam_ros.node.input.camera_statistics import CameraStatistics, FrameTimes
from rmpsam_ros.node.input.transport_losses import TransportLosses
from rmpsam_ros.node.self_report import CameraReport
from rmpsam_ros.node.status import Level, Status
from rmpsam_ros.node.topic_health import Peer, Problem
from rmpsam_ros.node.topic_names import TopicNames

CAMERA = Peer("/driver", "sensor_msgs/msg/Image", "reliable", "")
PROBLEM, SOLVED = "no image on /image", "images arrive on /image"


class Robot:
    """A camera and what its report logs, with a clock and a graph that the test moves."""

    def __init__(self, monkeypatch, settings, spatial=None):
        self.lines, self.peers, self.now = [], [CAMERA], 100.0
        self.camera = SimpleNamespace(
            active=True,
            last_arrival=self.now,
            last_age=0.0,
            subscription=SimpleNamespace(
                topic_name="/image", qos_profile=qos.image_input(), msg_type=Image
            ),
            profile=qos.image_input(),
            hear_best_effort=lambda: False,
            slot=SimpleNamespace(received=0, dropped=0),
            statistics=CameraStatistics(),
            losses=TransportLosses(),
            names=TopicNames(""),
            publishers=SimpleNamespace(all=()),
            spatial=spatial,
        )
        monkeypatch.setattr(
            self_report.topic_health, "subscription_peers", lambda *_: list(self.peers)
        )
        monkeypatch.setattr(self_report.topic_health, "other_transport", lambda *_: "")
        monkeypatch.setattr(self_report.time, "monotonic", lambda: self.now)
        log = SimpleNamespace(
            info=self.lines.append, warning=self.lines.append, error=self.lines.append
        )
        self.report = CameraReport(
            SimpleNamespace(get_logger=lambda: log),
            self.camera,
            lambda: Status("prompts", Level.OK, ""),
            settings,
        )

    def second(self, images=0):
        """Let a second pass in which images arrive; what is logged at its end."""
        self.now += 1.0
        if images:
            self.camera.last_arrival = self.now
            self.camera.slot.received += images
        self.lines.clear()
        self.report.statuses()
        return list(self.lines)

    def activate(self):
        self.camera.active, self.camera.last_arrival = True, self.now

    def fall_silent(self):
        """Until the silence is logged."""
        assert self.second() == []
        (line,) = self.second()
        assert PROBLEM in line
        assert self.second() == [], "twice"


@pytest.fixture
def settings(live_settings):
    return live_settings(input_timeout=2.0, latency_warning=0.5)


@pytest.fixture
def robot(monkeypatch, settings):
    return Robot(monkeypatch, settings)


def test_a_stall_and_its_end_are_logged_once(robot):
    assert robot.second(images=5) == []
    robot.fall_silent()
    assert robot.second(images=1) == [SOLVED]
    assert robot.second(images=1) == []


def test_going_inactive_solves_nothing(robot):
    robot.fall_silent()
    robot.camera.active = False
    assert robot.second() == []
    assert robot.second() == []


def test_what_is_still_wrong_after_activation_is_logged_again(robot):
    robot.fall_silent()
    robot.camera.active = False
    robot.second()
    robot.activate()
    robot.fall_silent()
    assert robot.second(images=1) == [SOLVED]


def test_activation_at_once_solves_nothing(robot):
    """The state may change and change back between two reports."""
    robot.fall_silent()
    robot.activate()
    assert robot.second() == []
    assert robot.second(images=3) == [SOLVED]


def test_a_publisher_that_does_not_fit_and_goes_leaves_no_images(robot):
    robot.peers[:] = [Peer("/driver", CAMERA.type_name, "best effort", "does not fit")]
    (line,) = robot.second()
    assert "nothing can arrive on /image" in line
    robot.peers.clear()
    robot.camera.last_arrival = robot.now  # not long ago: silence itself is no problem yet
    assert robot.second() == []
    assert robot.second(images=1) == [SOLVED]


def test_depth_is_not_said_to_be_used_after_a_pause(monkeypatch, settings):
    spatial = SimpleNamespace(found=0, values=dict, state=Problem(Level.WARN, "kind", "no depth"))
    spatial.problem = lambda timeout: spatial.state
    robot = Robot(monkeypatch, settings, spatial)
    assert robot.second(images=1) == ["no depth"]
    robot.camera.active, spatial.state = False, None
    assert robot.second() == []
    robot.activate()
    assert robot.second(images=1) == []
    spatial.state = Problem(Level.WARN, "kind", "no depth")
    assert robot.second(images=1) == ["no depth"]
    spatial.state = None
    assert robot.second(images=1) == ["depth is used"]


def processing(robot):
    (status,) = (one for one in robot.report.statuses() if one.part == "processing")
    return status


@pytest.mark.parametrize(
    ("totals", "level", "words"),
    [
        ([], Level.OK, "images per second"),
        ([0.4, 0.6], Level.OK, "images per second"),
        ([0.4, 0.7], Level.WARN, "results come 0.55 s after their images, latency_warning is 0.5"),
        ([9.0] * 9 + [0.1] * 100, Level.OK, "images per second"),
    ],
)
def test_late_results_are_a_warning(robot, totals, level, words):
    for total in totals:
        robot.camera.statistics.succeed(FrameTimes(*[0.0] * 7, total))
    assert processing(robot).level is level and words in processing(robot).message


def test_failures_go_before_late_results(robot):
    robot.camera.statistics.succeed(FrameTimes(*[0.0] * 7, 9.0))
    robot.camera.statistics.fail("no memory")
    assert processing(robot).message == "an image failed: no memory"
    robot.camera.active = False
    assert processing(robot).message == "not active"


def test_damaged_images_that_are_used_are_a_warning_for_a_while(robot):
    robot.camera.statistics.note_damage("JPEG is damaged and used: a piece is missing")
    assert processing(robot).level is Level.WARN
    assert processing(robot).message == "JPEG is damaged and used: a piece is missing"
    assert processing(robot).values["damaged"] == 1
    robot.camera.statistics._last_damage_time -= 11.0
    assert processing(robot).level is Level.OK


def test_images_that_are_all_nearly_black_are_a_warning(robot):
    for _ in range(29):
        robot.camera.statistics.note_darkness("mono16 images are nearly black")
    assert processing(robot).level is Level.OK
    robot.camera.statistics.note_darkness("mono16 images are nearly black")
    assert processing(robot).level is Level.WARN
    assert "nearly black" in processing(robot).message
    robot.camera.statistics.note_darkness("")
    assert processing(robot).level is Level.OK
