"""Reasons why no images arrive or no results leave, and their remedies.

The rules are functions of plain values; `subscription_peers` and `publisher_peers` read the values
from the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from rmpsam_ros.node import qos
from rmpsam_ros.node.status import Level

MIN_LOST_SHARE = 0.1
BEST_EFFORT_CONFLICT = "best effort cannot serve reliable"
_ENDLESS = 1e8  # seconds; middlewares spell infinity in several ways


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a topic.

    Attributes:
        node: its full name.
        type_name: type of its messages, for example ``sensor_msgs/msg/Image``.
        offers: its quality of service in words.
        conflict: why nothing can pass between it and us; empty: it can.
    """

    node: str
    type_name: str
    offers: str
    conflict: str


@dataclass(frozen=True, slots=True)
class InputState:
    """What is known about an input topic.

    Attributes:
        topic, type_name, wants: our end: full name, message type, quality of service in words.
        remapped: the relative name that is to be remapped to another topic.
        publishers: the other ends.
        received: messages since activation.
        lost: share of recent messages that were sent and did not arrive, 0 to 1.
        silent_for: seconds since activation or the last message.
        timeout: seconds of silence that are too long.
        beside: the topic of the other transport, if somebody publishes there and nobody here.
    """

    topic: str
    type_name: str
    wants: str
    remapped: str
    publishers: Sequence[Peer]
    received: int
    lost: float
    silent_for: float
    timeout: float
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps messages from passing.

    Attributes:
        kind: stays the same while the problem does; the text may count seconds.
        text: what is wrong and what to do, in one line.
    """

    level: Level
    kind: str
    text: str


def input_problem(state: InputState) -> Problem | None:
    """Return what is wrong with an input topic and the remedy, None if nothing is."""
    others = [peer for peer in state.publishers if peer.type_name != state.type_name]
    same = [peer for peer in state.publishers if peer.type_name == state.type_name]
    good = [peer for peer in same if not peer.conflict]
    conflicts = [peer for peer in same if peer.conflict]
    if conflicts and not good:
        peer = conflicts[0]
        return Problem(
            Level.ERROR,
            "incompatible",
            f"nothing can arrive on {state.topic}: {len(conflicts)} publisher(s), but "
            f"{peer.node} offers {peer.offers} and this node wants {state.wants} "
            f"({peer.conflict}); set image_reliability or "
            f"qos_overrides.{state.topic}.subscription.reliability to best_effort",
        )
    if state.silent_for < state.timeout:
        return _several(state, good) or _losses(state, good)
    silence = f"no image on {state.topic} for {state.silent_for:.0f} s"
    names = f"{len(good)} publisher(s) ({', '.join(peer.node for peer in good)})"
    if good and state.received:
        text = (
            f"{silence}: {names} stopped sending, or the images get lost on the way; check the "
            "camera, and for large images docs/large_images.md"
        )
        return Problem(Level.ERROR, "stalled", text)
    if good:
        text = (
            f"{silence}, though there is a compatible publisher: {names}; check that the camera "
            "runs, and for large images docs/large_images.md"
        )
        return Problem(Level.WARN, "no first image", text)
    if others:
        peer = others[0]
        text = (
            f"{silence}: {peer.node} publishes {peer.type_name} there, this node subscribes to "
            f"{state.type_name}; set image_transport, or remap {state.remapped} to another topic"
        )
        return Problem(Level.ERROR, "other type", text)
    if state.beside:
        transport = "compressed" if state.beside.endswith("/compressed") else "raw"
        text = f"{silence}, but on {state.beside} there are: set image_transport to {transport}"
        return Problem(Level.ERROR, "other transport", text)
    text = (
        f"{silence}: there is no publisher; start the camera, or remap {state.remapped} to its "
        f"topic (--ros-args -r {state.remapped}:=/camera/image_raw), and check ROS_DOMAIN_ID"
    )
    return Problem(Level.WARN, "no publisher", text)


def _several(state: InputState, publishers: Sequence[Peer]) -> Problem | None:
    if len(publishers) < 2:
        return None
    names = ", ".join(peer.node for peer in publishers)
    text = (
        f"{len(publishers)} publishers send images on {state.topic} ({names}), which are taken "
        f"for those of one camera; stop all but one, or remap {state.remapped}"
    )
    return Problem(Level.WARN, "several publishers", text)


def _losses(state: InputState, publishers: Sequence[Peer]) -> Problem | None:
    if state.lost < MIN_LOST_SHARE:
        return None
    text = (
        f"{100.0 * state.lost:.0f} % of the images sent on {state.topic} do not arrive: they are "
        "lost in the middleware, or the machine is overloaded; "
    )
    offered = [peer.offers.startswith("reliable") for peer in publishers]
    if offered and all(offered) and not state.wants.startswith("reliable"):
        text += "the camera offers more: set image_reliability to reliable, and "
    text += "see docs/large_images.md"
    return Problem(Level.WARN, "losses", text)


def output_problem(topic: str, subscribers: Sequence[Peer]) -> Problem | None:
    """Return which subscribers of a result topic cannot be served, None if all can."""
    conflicts = [peer for peer in subscribers if peer.conflict]
    if not conflicts:
        return None
    peer = conflicts[0]
    text = (
        f"{len(conflicts)} of {len(subscribers)} subscriber(s) of {topic} get nothing: "
        f"{peer.node} wants {peer.offers} ({peer.conflict}); change the QoS of that "
        f"subscriber, or set qos_overrides.{topic}.publisher"
    )
    return Problem(Level.WARN, f"incompatible {topic}", text)


def name_problem(node: Node) -> Problem | None:
    """Return a problem if another node has the full name of this one."""
    own = (node.get_name(), node.get_namespace())
    number = sum(found == own for found in node.get_node_names_and_namespaces())
    if number < 2:
        return None
    name = node.get_fully_qualified_name()
    text = (
        f"{number} nodes are called {name}: requests are answered by any of them, and results are "
        "published by all; end the others, or start this one with -r __node:=another_name"
    )
    return Problem(Level.WARN, "name", text)


def sends_best_effort(peers: Sequence[Peer]) -> bool:
    """Tell whether a publisher is not heard only because it sends best effort."""
    return any(peer.conflict == BEST_EFFORT_CONFLICT for peer in peers)


def other_transport(node: Node, topic: str) -> str:
    """Return the topic on which the same images would come in the other form, if they do."""
    suffix = "/compressed"
    other = topic.removesuffix(suffix) if topic.endswith(suffix) else topic + suffix
    return other if node.get_publishers_info_by_topic(other) else ""


def subscription_peers(node: Node, topic: str, profile: QoSProfile) -> list[Peer]:
    """Return the publishers of a topic as a subscription with this profile sees them."""
    return [
        _peer(info, conflict(info.qos_profile, profile))
        for info in node.get_publishers_info_by_topic(topic)
    ]


def publisher_peers(node: Node, topic: str, profile: QoSProfile) -> list[Peer]:
    """Return the subscribers of a topic as a publisher with this profile sees them."""
    return [
        _peer(info, conflict(profile, info.qos_profile))
        for info in node.get_subscriptions_info_by_topic(topic)
    ]


def conflict(offered: QoSProfile, wanted: QoSProfile) -> str:
    """Return why a publisher cannot serve a subscriber by the rules of DDS; empty: it can.

    rclpy's own check takes an infinite time for a demand, and reports conflicts where there are
    none.
    """
    if (
        offered.reliability is ReliabilityPolicy.BEST_EFFORT
        and wanted.reliability is ReliabilityPolicy.RELIABLE
    ):
        return BEST_EFFORT_CONFLICT
    if (
        offered.durability is DurabilityPolicy.VOLATILE
        and wanted.durability is DurabilityPolicy.TRANSIENT_LOCAL
    ):
        return "volatile cannot serve transient local"
    for name in ("deadline", "liveliness_lease_duration"):
        if _seconds(getattr(offered, name)) > _seconds(getattr(wanted, name)):
            return f"the {name.replace('_', ' ')} offered is longer than wanted"
    return ""


def _seconds(duration: Duration) -> float:
    """Return a time of a profile, where 0 and very long mean that there is none."""
    seconds = duration.nanoseconds * 1e-9
    return seconds if 0.0 < seconds < _ENDLESS else float("inf")


def _peer(info: Any, conflict: str) -> Peer:
    name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
    return Peer(
        node="an unnamed node" if "_UNKNOWN_" in name else name,
        type_name=info.topic_type,
        offers=qos.describe(info.qos_profile),
        conflict=conflict,
    )
