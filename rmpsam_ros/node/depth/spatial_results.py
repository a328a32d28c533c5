"""The topics of one camera that need depth: positions, markers, labelled cloud."""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from rmpsam_ros.geometry import (
    CameraModel,
    DepthImage,
    GeometryError,
    check_same_camera,
    locate_tracks,
)
from rmpsam_ros.msg import TrackPositionArray
from rmpsam_ros.node import qos, topic_health
from rmpsam_ros.node.depth.clouds import CloudTopic, labelled_cloud, organized_cloud
from rmpsam_ros.node.depth.depth_images import decode_depth
from rmpsam_ros.node.depth.depth_thread import DepthThread
from rmpsam_ros.node.depth.health import DepthState, depth_problem
from rmpsam_ros.node.depth.markers import TrackMarkers
from rmpsam_ros.node.depth.matching import Match, StampMatcher
from rmpsam_ros.node.input.calibration import Calibration
from rmpsam_ros.node.input.frame_headers import nanoseconds
from rmpsam_ros.node.input.images import ImageError
from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.printable import printable, quoted
from rmpsam_ros.node.results import detections
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.results.processed_frame import ProcessedFrame
from rmpsam_ros.node.topic_health import InputState, Problem
from rmpsam_ros.node.topic_names import TopicNames

if TYPE_CHECKING:
    from rclpy.subscription import Subscription

LOG_PERIOD = 5.0  # seconds between two lines about the same thing


class SpatialResults:
    """Finds tracks and pixels in space, beside the inference, while somebody subscribes.

    Args:
        settings: of depth, tolerances and clouds.
        calibration: of the camera.

    Attributes:
        found: results that were found in space.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        settings: LiveSettings,
        calibration: Calibration,
    ) -> None:
        self._node, self._names, self._settings = node, names, settings
        self._logger, self._clock = node.get_logger(), node.get_clock()
        self._calibration = calibration
        self._positions = qos.create_publisher(
            node, TrackPositionArray, names.private("positions")
        )
        self._markers = qos.create_publisher(node, MarkerArray, names.private("markers"))
        self._cloud, self._organized = (
            CloudTopic(qos.create_publisher(node, PointCloud2, names.private(topic)))
            for topic in ("labelled_cloud", "organized_cloud")
        )
        self._detections: Publisher | None = None
        if detections.installed():
            self._detections = qos.create_publisher(
                node, detections.Detection3DArray, names.private("detections_3d")
            )
        self._marker_memory = TrackMarkers()
        self.found = 0
        self._missing = 0
        self._offset: float | None = None
        self._failure, self._failure_time, self._warning = "", 0.0, ""
        self._active, self._started, self._last_arrival = False, 0.0, 0.0
        work = threading.Condition()
        self._matcher: StampMatcher[Any] = StampMatcher(work, settings)
        self._thread = DepthThread(
            work, self._matcher, self._use, self._on_missing, self._on_error
        )
        self.subscription: Subscription = qos.create_subscription(
            node, Image, names.input("depth"), self._on_depth, qos.depth_input()
        )

    @property
    def all(self) -> tuple[Publisher, ...]:
        """All publishers."""
        return (*self._of_tracks, self._cloud.publisher, self._organized.publisher)

    @property
    def _of_tracks(self) -> tuple[Publisher, ...]:
        others = () if self._detections is None else (self._detections,)
        return (self._positions, self._markers, *others)

    @property
    def received(self) -> int:
        """Depth images that have come."""
        return self._matcher.received

    def start(self) -> None:
        """Take in depth from now on."""
        self._started = self._last_arrival = time.monotonic()
        self._active = True

    def stop(self) -> None:
        """Take in no more depth, and forget what there is."""
        self._active = False
        self._thread.clear()
        self._matcher.clear()
        self._missing, self._failure, self._warning = 0, "", ""

    def close(self) -> None:
        """End the thread."""
        self._thread.close(timeout=5.0)

    def hold(self, stamp: int) -> None:
        """Keep the depth of an image that goes into the network; stamp: nanoseconds."""
        if self._wanted():
            self._matcher.hold(stamp)

    def submit(self, frame: ProcessedFrame) -> None:
        """Leave a result to be found in space as soon as its depth is there."""
        if self._wanted():
            self._thread.submit(frame)
        else:
            self._marker_memory.forget()

    def problem(self, timeout: float) -> Problem | None:
        """Return what is wrong with depth; timeout: seconds of silence that are too long."""
        if not self._active:
            return None
        now = time.monotonic()
        silent_for = now - self._last_arrival
        info = self._calibration
        state = DepthState(
            depth=self._input(self.subscription, "depth", self.received, silent_for, timeout),
            info=self._input(
                info.subscription, "camera_info", info.received, now - self._started, timeout
            ),
            failure=self._failure,
            failed_for=now - self._failure_time,
            warning=self._warning,
            missing=self._missing,
            offset=self._offset,
            tolerance=self._settings.current.depth_tolerance,
        )
        return depth_problem(state)

    def values(self) -> dict[str, object]:
        """Return figures by name."""
        offset = "" if self._offset is None else f"{self._offset:+.4f}"
        return {
            "topic": self.subscription.topic_name,
            "camera_info": self._calibration.subscription.topic_name,
            "depth images": self.received,
            "camera_info messages": self._calibration.received,
            "results found in space": self.found,
            "results in a row without depth": self._missing,
            "depth minus image stamp (s)": offset,
            "last error": self._failure,
        }

    def _input(
        self, subscription: Any, name: str, received: int, silent_for: float, timeout: float
    ) -> InputState:
        topic, profile = subscription.topic_name, subscription.qos_profile
        package = subscription.msg_type.__module__.split(".", maxsplit=1)[0]
        return InputState(
            topic=topic,
            type_name=f"{package}/msg/{subscription.msg_type.__name__}",
            wants=qos.describe(profile),
            remapped=self._names.input(name),
            publishers=topic_health.subscription_peers(self._node, topic, profile),
            received=received,
            lost=0.0,
            silent_for=silent_for,
            timeout=timeout,
        )

    def _wanted(self) -> bool:
        """Tell whether somebody would get something of the next result."""
        rate = self._settings.current.cloud_rate
        return any(topic.get_subscription_count() for topic in self._of_tracks) or any(
            topic.is_due(rate) for topic in (self._cloud, self._organized)
        )

    # Callback of the executor ------------------------------------------------------------------

    def _on_depth(self, message: Any) -> None:
        if self._active:
            self._last_arrival = time.monotonic()
            stamp = nanoseconds(message.header.stamp) or self._clock.now().nanoseconds
            self._matcher.keep(stamp, message)

    # In the depth thread -----------------------------------------------------------------------

    def _use(self, frame: ProcessedFrame, match: Match[Any]) -> None:
        """Publish what is subscribed to of one result."""
        self._missing, self._offset = 0, match.offset * 1e-9
        height, width = frame.result.height, frame.result.width
        depth = decode_depth(match.item)
        check_same_camera(frame.header.frame_id, match.item.header.frame_id)
        depth.check_fits(height, width)
        camera = self._calibration.model(height, width)
        self._publish_tracks(frame, match.offset, depth, camera)
        settings = self._settings.current
        if self._cloud.is_due(settings.cloud_rate):
            cloud = labelled_cloud(frame, depth, camera, settings.cloud_stride)
            self._cloud.publish(cloud)
        if self._organized.is_due(settings.cloud_rate):
            self._organized.publish(organized_cloud(frame, depth, camera))
        self.found += 1
        self._failure, self._warning = "", _odd_frames(frame.header, self._calibration)

    def _publish_tracks(
        self, frame: ProcessedFrame, offset: int, depth: DepthImage, camera: CameraModel
    ) -> None:
        wanted = {topic for topic in self._of_tracks if topic.get_subscription_count()}
        if self._markers not in wanted:
            self._marker_memory.forget()
        if not wanted:
            return
        header, labels = frame.header, frame.pipeline.label_set
        found = locate_tracks(frame.result.tracks, frame.result.track_masks, depth, camera)
        if self._positions in wanted:
            self._positions.publish(MESSAGES.positions(header, offset, found, labels))
        if self._markers in wanted:
            self._markers.publish(self._marker_memory.fill(header, found, labels))
        if self._detections is not None and self._detections in wanted:
            self._detections.publish(detections.detections_3d_message(header, found, labels))

    def _on_missing(self, frame: ProcessedFrame) -> None:
        self._missing += 1
        self._offset = self._matcher.distance(frame.stamp)

    def _on_error(self, error: Exception) -> None:
        expected = isinstance(error, GeometryError | ImageError)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        self._failure = printable(reason)
        self._failure_time = time.monotonic()
        self._logger.warning(
            f"{self._names.about('result')} not found in space: {self._failure}",
            throttle_duration_sec=LOG_PERIOD,
        )
        if not expected:
            details = quoted("".join(traceback.format_exception(error)))
            self._logger.error(details, throttle_duration_sec=LOG_PERIOD)


def _odd_frames(image: Header, calibration: Calibration) -> str:
    """Return what is odd about the frame of camera_info; pixels alone decide, so it is used."""
    known = calibration.message
    frame = "" if known is None else known.header.frame_id
    if not frame or not image.frame_id or frame == image.frame_id:
        return ""
    return (
        f"camera_info has frame_id '{frame}' and the image '{image.frame_id}'; check that it is "
        f"that of this camera: {calibration.subscription.topic_name}"
    )
