"""Quality of service of topics, services and actions, in one place: none is created without it.

Images come in reliable where the camera offers it, else best effort, and only the newest counts.
Results go out reliable, which every subscriber can take. Tables are latched: who comes later gets
them too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient, ActionServer
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.service import Service
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


RESULT_KEPT = 30  # seconds for which the result of an action can be fetched; it may be large


def image_input(reliability: str = "best_effort") -> QoSProfile:
    """Return the profile of camera images: the newest only.

    Args:
        reliability: best_effort, reliable, or auto, which begins reliable. (Not BEST_AVAILABLE:
            made before there is a camera, such a subscription is reliable for ever, and hears
            nothing of a camera that sends best effort.)
    """
    name = "reliable" if reliability == "auto" else reliability
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy[name.upper()],
    )


def depth_input() -> QoSProfile:
    """Return the profile of depth images: as `image_input`, but none in a row is to be missed."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def result(reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE) -> QoSProfile:
    """Return the profile of results: reliable, a few kept for slow subscribers."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=reliability)


def requests() -> QoSProfile:
    """Return the profile of services that many clients may call at the same moment.

    A service keeps 10 requests by default: when an eleventh comes before the executor has looked,
    the oldest is lost without a word, and its client waits for ever.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.RELIABLE
    )


def progress() -> QoSProfile:
    """Return the profile of what an action tells meanwhile: enough kept for a slow client."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE
    )


def latched() -> QoSProfile:
    """Return the profile of tables: the last one is kept for subscribers that come later."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def create_publisher(
    node: Node,
    message_type: type[Any],
    topic: str,
    profile: QoSProfile | None = None,
    overridable: bool = True,
) -> Publisher:
    """Create a publisher.

    Args:
        profile: None: that of a `result`.
        overridable: whether parameters ``qos_overrides`` may change the profile.
    """
    return node.create_publisher(
        message_type,
        topic,
        result() if profile is None else profile,
        qos_overriding_options=_overrides() if overridable else None,
        event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
    )


def create_subscription(
    node: Node,
    message_type: type[Any],
    topic: str,
    callback: Callable[..., None],
    profile: QoSProfile,
    group: CallbackGroup | None = None,
    overridable: bool = True,
) -> Subscription:
    """Create a subscription.

    Incompatible profiles are found by looking at the graph (`topic_health`), not by events: each
    event is one more thing that the executor looks at before every callback.

    Args:
        group: None: a group of its own, so that it waits for no other callback.
        overridable: whether parameters ``qos_overrides`` may change the profile.
    """
    return node.create_subscription(
        message_type,
        topic,
        callback,
        profile,
        callback_group=group or MutuallyExclusiveCallbackGroup(),
        qos_overriding_options=_overrides() if overridable else None,
        event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
    )


def create_service(
    node: Node,
    service_type: type[Any],
    name: str,
    callback: Callable[[Any, Any], Any],
    group: CallbackGroup,
) -> Service:
    """Create a service that keeps all `requests` until the executor gets to them."""
    return node.create_service(
        service_type, name, callback, qos_profile=requests(), callback_group=group
    )


def create_action_server(
    node: Node,
    action_type: type[Any],
    name: str,
    execute: Callable[[Any], Any],
    cancel: Callable[[Any], Any],
    group: CallbackGroup,
) -> ActionServer:
    """Create an action whose services keep all `requests`.

    Args:
        execute: works on an accepted goal, in a thread of the executor, and returns its result.
        cancel: tells whether a goal may be canceled.
    """
    return ActionServer(
        node,
        action_type,
        name,
        execute,
        callback_group=group,
        cancel_callback=cancel,
        goal_service_qos_profile=requests(),
        result_service_qos_profile=requests(),
        cancel_service_qos_profile=requests(),
        feedback_pub_qos_profile=progress(),
        status_pub_qos_profile=latched(),
        result_timeout=RESULT_KEPT,
    )


def create_action_client(node: Node, action_type: type[Any], name: str) -> ActionClient:
    """Create a client of `create_action_server`."""
    return ActionClient(
        node,
        action_type,
        name,
        goal_service_qos_profile=requests(),
        result_service_qos_profile=requests(),
        cancel_service_qos_profile=requests(),
        feedback_sub_qos_profile=progress(),
        status_sub_qos_profile=latched(),
    )


def is_overridden(node: Node, topic: str, kind: str, policy: str) -> bool:
    """Tell whether the user chose a policy of a topic at start.

    Args:
        kind: publisher or subscription.
    """
    given = getattr(node, "_parameter_overrides", {})
    return f"qos_overrides.{topic}.{kind}.{policy}" in given


def _overrides() -> QoSOverridingOptions:
    return QoSOverridingOptions.with_default_policies()


def describe(profile: QoSProfile) -> str:
    """Return a profile in words, for example ``best effort, keep last 1``."""
    words = [profile.reliability.name.lower().replace("_", " ")]
    if profile.durability is DurabilityPolicy.TRANSIENT_LOCAL:
        words.append("latched")
    if profile.history is HistoryPolicy.KEEP_LAST:  # unknown of other processes
        words.append(f"keep last {profile.depth}")
    return ", ".join(words)
