"""Results in the forms that other packages read: detections, outlines, masks of classes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from rmpsam_ros.node import qos
from rmpsam_ros.node.input.calibration import Calibration
from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.results import detections, foxglove
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.topic_names import TopicNames

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult
    from rmpsam_ros.segmentation.labels import LabelSet

LOG_PERIOD = 30.0  # seconds between two lines about the same thing

Fill = Callable[[], Any]  # gives a message, or None when there is none to publish


class ConsumerTopics:
    """Publishers of one camera.

    ``detections``: vision_msgs/Detection2DArray, where vision_msgs is installed; ``annotations``:
    foxglove_msgs/ImageAnnotations, where foxglove_msgs is. ``mask/image``:
    mono8, 255 on the classes of parameter ``mask_classes``; ``mask/camera_info``: the camera_info
    of the camera with the header of the mask, as long as it fits the size of the images.
    ``panoptic/confidence``: mono8, the score of the segment of every pixel, 255 is 1.0.

    Args:
        settings: with ``mask_classes``.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        settings: LiveSettings,
        calibration: Calibration,
    ) -> None:
        self._logger = node.get_logger()
        self._settings = settings
        self._calibration = calibration
        self._mask = qos.create_publisher(node, Image, names.private("mask/image"))
        self._mask_info = qos.create_publisher(node, CameraInfo, names.private("mask/camera_info"))
        self._detections: Publisher | None = None
        if detections.installed():
            self._detections = qos.create_publisher(
                node, detections.Detection2DArray, names.private("detections")
            )
        self._annotations: Publisher | None = None
        if foxglove.installed():
            self._annotations = qos.create_publisher(
                node, foxglove.ImageAnnotations, names.private("annotations")
            )
        self._confidence = qos.create_publisher(node, Image, names.private("panoptic/confidence"))
        self._mask_message, self._confidence_message = Image(), Image()
        self._ids: frozenset[int] = frozenset()
        self._ids_of: tuple[str, str] | None = None  # label set and names that they belong to

    @property
    def all(self) -> tuple[Publisher, ...]:
        """All publishers."""
        optional = (self._detections, self._annotations)
        found = [publisher for publisher in optional if publisher is not None]
        return (*found, self._confidence, self._mask, self._mask_info)

    def fills(
        self, header: Header, result: FrameResult, labels: LabelSet
    ) -> Iterator[tuple[Publisher, Fill]]:
        """Give every publisher with what fills its message for one frame."""
        if self._detections is not None:
            yield (
                self._detections,
                lambda: detections.detections_message(header, result, labels),
            )
        if self._annotations is not None:
            yield (
                self._annotations,
                lambda: foxglove.annotations_message(header, result, labels),
            )
        yield self._confidence, lambda: self._fill_confidence(header, result)
        yield self._mask, lambda: self._fill_mask(header, result, labels)
        yield self._mask_info, lambda: self._fill_mask_info(header, result)

    def _fill_confidence(self, header: Header, result: FrameResult) -> Image:
        from rmpsam_ros.segmentation.panoptic import confidence_map

        message, size = self._confidence_message, (result.height, result.width)
        confidence_map(
            result.panoptic, MESSAGES.image_pixels(message, header, size, np.uint8, "mono8")
        )
        return message

    def _fill_mask(self, header: Header, result: FrameResult, labels: LabelSet) -> Image | None:
        from rmpsam_ros.segmentation.class_mask import class_mask

        if not self._class_ids(labels):
            self._logger.warning(
                f"{self._mask.topic_name} is subscribed to, but parameter mask_classes is empty: "
                "nothing is published there",
                throttle_duration_sec=LOG_PERIOD,
            )
            return None
        message, size = self._mask_message, (result.height, result.width)
        pixels = MESSAGES.image_pixels(message, header, size, np.uint8, "mono8")
        class_mask(result.panoptic, self._ids, pixels)
        return message

    def _class_ids(self, labels: LabelSet) -> frozenset[int]:
        from rmpsam_ros.node.parameters.configuration import class_ids

        wanted = (labels.name, self._settings.current.mask_classes)
        if wanted != self._ids_of:
            self._ids = class_ids(wanted[1], labels, "mask_classes") or frozenset()
            self._ids_of = wanted
        return self._ids

    def _fill_mask_info(self, header: Header, result: FrameResult) -> CameraInfo | None:
        known = self._calibration.message
        problem = "none has come" if known is None else ""
        if known is not None and (known.height, known.width) != (result.height, result.width):
            problem = (
                f"it is for images of {known.width} x {known.height} pixels, these have "
                f"{result.width} x {result.height}"
            )
        if known is None or problem:
            self._logger.warning(
                f"no {self._mask_info.topic_name}: camera_info is expected on "
                f"{self._calibration.subscription.topic_name}, but {problem}",
                throttle_duration_sec=LOG_PERIOD,
            )
            return None
        message = copy.copy(known)
        message.header = header
        return message
