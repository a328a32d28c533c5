"""Drives a robot after a person, at a distance: a consumer of ~/positions.

    python3 follow_person.py --ros-args -r positions:=/rmpsam/positions -r cmd_vel:=/cmd_vel

The nearest confirmed person is followed until it is lost; then the robot stands, and takes the
next one after `patience` seconds. It stands, too, when no positions come. Nothing here sees
obstacles: a base that drives by itself needs something between this and its wheels that does.
"""

from __future__ import annotations

import math

import rclpy
from geometry_msgs.msg import Twist
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from rmpsam_ros.msg import InstanceTrack, TrackPosition, TrackPositionArray

RATE = 20.0  # commands per second


class FollowPerson(Node):
    """Turns to the person, and drives forward or back until it is at the wanted distance."""

    def __init__(self) -> None:
        super().__init__("follow_person")
        defaults = {
            "class_name": "person",
            "distance": 1.5,  # metres to keep
            "timeout": 0.5,  # seconds without positions after which the robot stands
            "patience": 2.0,  # seconds for the person to come back before another is taken
            "max_speed": 0.5,  # metres per second
            "max_turn": 1.0,  # radians per second
            "speed_gain": 0.8,  # metres per second for every metre too far
            "turn_gain": 1.5,  # radians per second for every radian beside the middle
        }
        for name, value in defaults.items():
            self.declare_parameter(name, value)
        self._followed, self._seen, self._command = 0, -math.inf, Twist()
        self._publisher = self.create_publisher(Twist, "cmd_vel", 5)
        self.create_subscription(TrackPositionArray, "positions", self._on_positions, 5)
        self.create_timer(1.0 / RATE, self._drive)

    def _on_positions(self, message: TrackPositionArray) -> None:
        people = {
            one.id: one
            for one in message.positions
            if one.class_name == self._get("class_name") and one.state == InstanceTrack.CONFIRMED
        }
        if self._followed not in people and self._now() - self._seen >= self._get("patience"):
            self._followed = min(people, key=lambda key: people[key].position.z, default=0)
            if self._followed:
                self.get_logger().info(f"following {self._followed}")
        person = people.get(self._followed)
        if person is None:
            self._command = Twist()
        else:
            self._seen = self._now()
            self._command = self._towards(person)

    def _towards(self, person: TrackPosition) -> Twist:
        """Return the command; positions are in the optical frame: x right, z forward."""
        x, z = person.position.x, person.position.z
        if not math.isfinite(x + z):
            return Twist()
        angle, excess = math.atan2(x, z), math.hypot(x, z) - self._get("distance")
        command = Twist()
        command.angular.z = limited(-self._get("turn_gain") * angle, self._get("max_turn"))
        if abs(angle) < math.radians(30.0):  # first turn, then drive
            command.linear.x = limited(self._get("speed_gain") * excess, self._get("max_speed"))
        return command

    def _drive(self) -> None:
        stale = self._now() - self._seen > self._get("timeout")
        self._publisher.publish(Twist() if stale else self._command)

    def stand(self) -> None:
        """Let the robot stand."""
        self._publisher.publish(Twist())

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _get(self, name: str):
        return self.get_parameter(name).value


def limited(value: float, limit: float) -> float:
    """Return a value between -limit and limit."""
    return max(-limit, min(limit, value))


def main() -> None:
    """Run until SIGINT; the robot stands then."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = FollowPerson()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        node.stand()


if __name__ == "__main__":
    main()
