"""Self-report of the node: /diagnostics once a second, and a log line per new problem."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from statistics import fmean

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from rmpsam_ros.node import qos, topic_health
from rmpsam_ros.node.camera import LOG_PERIOD, Camera
from rmpsam_ros.node.depth.spatial_results import SpatialResults
from rmpsam_ros.node.input.camera_statistics import FrameTimes, RateMeter
from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.printable import printable, quoted
from rmpsam_ros.node.status import Level, Status, diagnostics_message
from rmpsam_ros.node.topic_health import InputState, Problem

PERIOD = 1.0  # seconds
FAILURE_MEMORY = 10.0  # seconds for which a failed image is warned about
NAME_LOG_PERIOD = 60.0  # seconds between two lines about another node of the same name
ALL_FAIL = 10  # failures in a row that are an error


class SelfReport:
    """Publishes the statuses of network and name, and of input, processing, prompts and outputs.

    Args:
        cameras: their reports.
        network: returns the status of the network.
        hardware_id: returns what the network runs on.
    """

    def __init__(
        self,
        node: Node,
        cameras: Sequence[CameraReport],
        network: Callable[[], Status],
        hardware_id: Callable[[], str],
    ) -> None:
        self._node = node
        self._cameras = cameras
        self._network = network
        self._hardware_id = hardware_id
        self._publisher = qos.create_publisher(
            node, DiagnosticArray, "/diagnostics", overridable=False
        )
        # Its own group, so that it also reports while the node configures; a steady clock, so that
        # it also reports while simulated time stands still.
        self._timer = node.create_timer(
            PERIOD,
            self._on_timer,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def _on_timer(self) -> None:
        try:
            self.report()
        except Exception:
            self._node.get_logger().error(
                quoted(traceback.format_exc()), throttle_duration_sec=LOG_PERIOD
            )

    def report(self) -> None:
        """Publish all statuses and log what is new."""
        statuses = [self._network(), self._name()]
        for camera in self._cameras:
            statuses += camera.statuses()
        stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_name()
        self._publisher.publish(diagnostics_message(name, self._hardware_id(), statuses, stamp))

    def _name(self) -> Status:
        """Return the status of the node's name, which no other node should have."""
        problem = topic_health.name_problem(self._node)
        if problem is None:
            return Status("name", Level.OK, "no other node has this name")
        self._node.get_logger().warning(problem.text, throttle_duration_sec=NAME_LOG_PERIOD)
        return Status("name", problem.level, problem.text)


class CameraReport:
    """How one camera does.

    Args:
        prompts: returns the status of its prompts.
        settings: with the times after which to warn.
    """

    def __init__(
        self,
        node: Node,
        camera: Camera,
        prompts: Callable[[], Status],
        settings: LiveSettings,
    ) -> None:
        self._node = node
        self._camera = camera
        self._prompts = prompts
        self._settings = settings
        self._received, self._processed, self._found = RateMeter(), RateMeter(), RateMeter()
        self._known_problems: dict[str, str] = {}

    def statuses(self) -> list[Status]:
        """Return all statuses and log what is new."""
        parts = [self._input(), self._processing(), self._prompts(), self._outputs()]
        return (
            parts if self._camera.spatial is None else [*parts, self._depth(self._camera.spatial)]
        )

    def _input(self) -> Status:
        camera, subscription = self._camera, self._camera.subscription
        active = camera.active  # before all else: what follows holds for an active camera
        topic, profile = subscription.topic_name, camera.profile
        peers = topic_health.subscription_peers(self._node, topic, profile)
        if topic_health.sends_best_effort(peers) and camera.hear_best_effort():
            profile = camera.profile
            peers = topic_health.subscription_peers(self._node, topic, profile)
        rate = self._received.read(camera.slot.received)
        state = InputState(
            topic=topic,
            type_name=_type_name(subscription.msg_type),
            wants=qos.describe(profile),
            remapped=camera.names.input("image"),
            publishers=peers,
            received=camera.slot.received,
            lost=camera.losses.recent_share(camera.slot.received),
            silent_for=time.monotonic() - camera.last_arrival,
            timeout=self._settings.current.input_timeout,
            beside="" if peers else topic_health.other_transport(self._node, topic),
        )
        problem = topic_health.input_problem(state) if active else None
        if not active:
            self._known_problems.pop("input", None)  # not solved, only no longer looked at
        elif problem is not None or rate:  # no problem yet says nothing while no image comes
            self._log("input", problem, f"images arrive on {topic}")
        message = f"{rate:.1f} images per second" if active else "not active"
        values = {
            "topic": topic,
            "type": state.type_name,
            "QoS": state.wants,
            "publishers": len(peers),
            **{f"publisher {peer.node}": f"{peer.type_name}, {peer.offers}" for peer in peers},
            "rate (Hz)": f"{rate:.2f}",
            "received": camera.slot.received,
            "lost on the way": camera.losses.lost,
            "age on arrival (s)": f"{camera.last_age:.3f}",
            "mono16 white": self._settings.current.mono16_white,
        }
        return _status(camera.names.about("input"), problem, message, values)

    def _processing(self) -> Status:
        camera, statistics = self._camera, self._camera.statistics
        rate = self._processed.read(statistics.processed)
        level, message = Level.OK, f"{rate:.1f} images per second"
        recent = statistics.recent_times()
        latency, limit = _mean_latency(recent), self._settings.current.latency_warning
        if not camera.active:
            message = "not active"
        elif statistics.failures_in_a_row >= ALL_FAIL:
            level, message = Level.ERROR, f"every image fails: {statistics.last_error}"
        elif statistics.failed and statistics.seconds_since_error() < FAILURE_MEMORY:
            level, message = Level.WARN, f"an image failed: {statistics.last_error}"
        elif statistics.damaged and statistics.seconds_since_damage() < FAILURE_MEMORY:
            level, message = Level.WARN, statistics.last_damage
        elif statistics.darkness:
            level, message = Level.WARN, statistics.darkness
        elif latency > limit:
            level = Level.WARN
            message = (
                f"results come {latency:.2f} s after their images, latency_warning is {limit:g}: "
                "take a faster engine, device or model, or smaller long_side and short_side"
            )
        values: dict[str, object] = {
            "rate (Hz)": f"{rate:.2f}",
            "received": camera.slot.received,
            "processed": statistics.processed,
            "dropped": camera.slot.dropped,
            "failed": statistics.failed,
            "damaged": statistics.damaged,
            "last error": statistics.last_error,
        }
        for stage in fields(FrameTimes) if recent else ():
            mean = fmean(getattr(times, stage.name) for times in recent)
            values[f"{stage.name} (ms)"] = f"{1000.0 * mean:.2f}"
        return Status(camera.names.about("processing"), level, message, values)

    def _outputs(self) -> Status:
        values: dict[str, object] = {}
        problems = []
        for publisher in self._camera.publishers.all:
            topic = publisher.topic_name
            peers = topic_health.publisher_peers(self._node, topic, publisher.qos_profile)
            values[f"subscribers of {topic}"] = len(peers)
            problem = topic_health.output_problem(topic, peers)
            self._log(topic, problem, f"all subscribers of {topic} can be served")
            if problem is not None:
                problems.append(problem)
        part = self._camera.names.about("outputs")
        return _status(part, problems[0] if problems else None, "", values)

    def _depth(self, spatial: SpatialResults) -> Status:
        about = self._camera.names.about("depth")
        rate = self._found.read(spatial.found)
        problem = spatial.problem(self._settings.current.input_timeout)
        active = self._camera.active
        if active:
            self._log("depth", problem, f"{about} is used")
        else:
            self._known_problems.pop("depth", None)
        message = f"{rate:.1f} results per second" if active else "not active"
        return _status(about, problem, message, spatial.values())

    def _log(self, subject: str, problem: Problem | None, solved: str) -> None:
        """Log a problem when it appears or changes, and when it is gone."""
        known = self._known_problems.get(subject, "")
        kind = "" if problem is None else problem.kind
        if kind == known:
            return
        self._known_problems[subject] = kind
        logger = self._node.get_logger()
        if problem is None:
            logger.info(solved)
        elif problem.level is Level.ERROR:
            logger.error(printable(problem.text))
        else:
            logger.warning(printable(problem.text))


def _mean_latency(times: Sequence[FrameTimes]) -> float:
    """Return the mean time from arrival to the last publish, seconds; 0 for no frames."""
    return fmean(frame.total for frame in times) if times else 0.0


def _status(part: str, problem: Problem | None, message: str, values: dict[str, object]) -> Status:
    if problem is None:
        return Status(part, Level.OK, message, values)
    return Status(part, problem.level, problem.text, values)


def _type_name(message_type: type) -> str:
    """Return the name of a message type as the graph spells it."""
    package = message_type.__module__.split(".", maxsplit=1)[0]
    return f"{package}/msg/{message_type.__name__}"
