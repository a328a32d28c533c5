"""The result topics of one camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rmpsam_ros.msg import (
    InstanceTrackArray,
    Latency,
    PanopticSegmentation,
    PromptedMaskArray,
)
from rmpsam_ros.node import qos
from rmpsam_ros.node.depth.spatial_results import SpatialResults
from rmpsam_ros.node.input.frame_headers import FrameHeaders
from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.results import borrowing
from rmpsam_ros.node.results.consumers import ConsumerTopics
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.results.overlay_thread import OverlayThread
from rmpsam_ros.node.results.processed_frame import ProcessedFrame
from rmpsam_ros.node.topic_names import TopicNames

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult


class ResultPublishers:
    """Publishes what somebody subscribes to; nothing is computed for the other topics.

    Args:
        names: which camera it is.
        settings: with ``overlay_rate``.
        on_overlay_error: called with the reason when an overlay fails.
        headers: headers of the newest frames, to which prompted masks may belong.
        consumers: topics in the forms of other packages.
        spatial: topics that need depth; None: there is no depth.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        settings: LiveSettings,
        on_overlay_error: Callable[[Exception], None],
        headers: FrameHeaders,
        consumers: ConsumerTopics,
        spatial: SpatialResults | None,
    ) -> None:
        self._panoptic = qos.create_publisher(
            node, PanopticSegmentation, names.private("panoptic")
        )
        self._tracks = qos.create_publisher(node, InstanceTrackArray, names.private("tracks"))
        self._semantic = qos.create_publisher(node, Image, names.private("panoptic/semantic"))
        self._instance = qos.create_publisher(node, Image, names.private("panoptic/instance"))
        self._prompted = qos.create_publisher(
            node, PromptedMaskArray, names.private("prompted_masks")
        )
        self._overlay = qos.create_publisher(node, Image, names.private("overlay"))
        self._latency = qos.create_publisher(node, Latency, names.private("latency"))
        self._headers = headers
        self._consumers, self._spatial = consumers, spatial
        self._prompts_shown = False
        self._panoptic_message, self._tracks_message = PanopticSegmentation(), InstanceTrackArray()
        self._semantic_message, self._instance_message = Image(), Image()
        self._overlay_thread = OverlayThread(self._overlay, settings, on_overlay_error)

    @property
    def all(self) -> tuple[Publisher, ...]:
        """All publishers."""
        return (
            self._panoptic,
            self._tracks,
            self._semantic,
            self._instance,
            self._prompted,
            self._overlay,
            self._latency,
            *self._consumers.all,
            *(() if self._spatial is None else self._spatial.all),
        )

    def publish(self, frame: ProcessedFrame) -> tuple[float, float]:
        """Fill and publish everything that is subscribed to; other threads draw, and use depth.

        Returns:
            Seconds spent filling messages and seconds spent publishing them.
        """
        header, result, pipeline = frame.header, frame.result, frame.pipeline
        labels = pipeline.label_set
        panoptic, tracks = self._panoptic_message, self._tracks_message
        semantic, instance = self._semantic_message, self._instance_message
        prompts_shown, self._prompts_shown = self._prompts_shown, bool(result.prompted)
        fill_seconds = publish_seconds = 0.0
        for publisher, fill in (
            (self._panoptic, lambda: MESSAGES.fill_panoptic(panoptic, header, result, labels)),
            (self._tracks, lambda: MESSAGES.fill_tracks(tracks, header, result, labels)),
            (self._semantic, lambda: MESSAGES.fill_semantic(semantic, header, result, pipeline)),
            (self._instance, lambda: MESSAGES.fill_instance(instance, header, result, pipeline)),
            (self._prompted, lambda: self._fill_prompted(header, result)),
            *self._consumers.fills(header, result, labels),
        ):
            if not publisher.get_subscription_count():
                continue
            if publisher is self._prompted and not (result.prompted or prompts_shown):
                continue
            started = time.perf_counter()
            message = fill()
            filled = time.perf_counter()
            if message is not None:
                borrowing.publish(publisher, message)
            fill_seconds += filled - started
            publish_seconds += time.perf_counter() - filled
        # Last, because the other threads begin at once and would take turns with this one.
        if self._overlay.get_subscription_count():
            self._overlay_thread.slot.offer(frame)
        if self._spatial is not None:
            self._spatial.submit(frame)
        return fill_seconds, publish_seconds

    def publish_latency(self, message: Latency) -> None:
        """Publish where the time of a frame went."""
        self._latency.publish(message)

    def close(self) -> None:
        """End the threads."""
        self._overlay_thread.close(timeout=5.0)
        if self._spatial is not None:
            self._spatial.close()

    def _fill_prompted(self, header: Header, result: FrameResult) -> PromptedMaskArray:
        return MESSAGES.prompted_masks(header, result.prompted, self._headers)
