"""The newest camera_info of a camera, and the camera model that it describes."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from rmpsam_ros.geometry import CameraModel, GeometryError, camera_model
from rmpsam_ros.node import qos
from rmpsam_ros.node.topic_names import TopicNames


class Calibration:
    """Keeps the newest camera_info; a calibration belongs to all images until another one comes.

    The topic is ``camera_info`` if that is remapped, else the one beside the images, where camera
    drivers put it: ``/front/camera_info`` for ``/front/image_raw``.

    Args:
        rectified: the images are rectified.

    Attributes:
        message: the newest message; None: none has come.
        received: how many have come.
    """

    def __init__(self, node: Node, names: TopicNames, rectified: bool) -> None:
        self._rectified = rectified
        self._model: CameraModel | GeometryError | None = None
        self._read: tuple[Any, ...] | None = None  # what `_model` was made from
        self.message: CameraInfo | None = None
        self.received = 0
        self.subscription = qos.create_subscription(
            node, CameraInfo, calibration_topic(node, names), self._on_message, qos.image_input()
        )

    def model(self, height: int, width: int) -> CameraModel:
        """Return the camera of images of this size; from one thread.

        Raises:
            GeometryError: there is no calibration yet, it cannot be used, or it is for images of
                another size.
        """
        message = self.message
        if message is None:
            raise GeometryError(
                f"no camera_info has come on {self.subscription.topic_name}: without it nothing "
                "is found in space; remap camera_info to its topic"
            )
        content = _content(message)
        if content != self._read:
            try:
                self._model = camera_model(message, self._rectified)
            except GeometryError as error:
                self._model = error
            self._read = content
        if not isinstance(self._model, CameraModel):
            raise GeometryError(f"camera_info cannot be used: {self._model}")
        self._model.check_size(height, width)
        return self._model

    def _on_message(self, message: CameraInfo) -> None:
        self.message = message
        self.received += 1


def calibration_topic(node: Node, names: TopicNames) -> str:
    """Return the full name of the topic of a camera's calibration."""
    name = names.input("camera_info")
    topic = node.resolve_topic_name(name)
    if topic != node.resolve_topic_name(name, only_expand=True):
        return topic  # remapped
    images = node.resolve_topic_name(names.input("image"))
    return f"{images.rpartition('/')[0]}/camera_info"


def _content(message: CameraInfo) -> tuple[Any, ...]:
    """What a camera model is made from, to be compared."""
    roi = message.roi
    return (
        (message.height, message.width, message.distortion_model),
        (message.binning_x, message.binning_y),
        (roi.x_offset, roi.y_offset, roi.height, roi.width),
        (bytes(message.k.tobytes()), bytes(message.p.tobytes()), message.d.tobytes()),
    )
