"""Quality of service of every topic, in one place.

Images come in best effort, which every publisher can serve, and only the newest counts. Results go
out reliable, which every subscriber can take. Tables are latched: who comes later gets them too.
"""

from __future__ import annotations

from typing import Any

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


def image_input() -> QoSProfile:
    """Return the profile of camera images: best effort, the newest only."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
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


def latched() -> QoSProfile:
    """Return the profile of tables: the last one is kept for subscribers that come later."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def subscription_options() -> dict[str, Any]:
    """Return further arguments of ``create_subscription``: overrides on, events off.

    Incompatible profiles are found by looking at the graph (`topic_health`), not by events: each
    event is one more thing that the executor looks at before every callback.
    """
    return {
        "qos_overriding_options": QoSOverridingOptions.with_default_policies(),
        "event_callbacks": SubscriptionEventCallbacks(use_default_callbacks=False),
    }


def publisher_options(overridable: bool = True) -> dict[str, Any]:
    """Return further arguments of ``create_publisher``, as `subscription_options`."""
    options = QoSOverridingOptions.with_default_policies() if overridable else None
    return {
        "qos_overriding_options": options,
        "event_callbacks": PublisherEventCallbacks(use_default_callbacks=False),
    }


def describe(profile: QoSProfile) -> str:
    """Return a profile in words, for example ``best effort, keep last 1``."""
    words = [profile.reliability.name.lower().replace("_", " ")]
    if profile.durability is DurabilityPolicy.TRANSIENT_LOCAL:
        words.append("latched")
    if profile.history is HistoryPolicy.KEEP_LAST:  # unknown of other processes
        words.append(f"keep last {profile.depth}")
    return ", ".join(words)
