"""A camera from a file: publishes a video, images or a device as camera images."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from rmpsam_ros.node import qos
from rmpsam_ros.node.input.calibration import calibration_topic
from rmpsam_ros.node.parameters.camera_source_table import CAMERA_SOURCE_PARAMETERS
from rmpsam_ros.node.parameters.declaration import DeclaredParameters
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.parameters.settings import CameraSourceSettings
from rmpsam_ros.node.process import initialize, spin, wait_for
from rmpsam_ros.node.results.messages import MESSAGES, array_field
from rmpsam_ros.node.topic_names import TopicNames
from rmpsam_ros.node.usage import usage, wants_help
from rmpsam_ros.video.frame_sources import FrameSource, SourceError, open_source

# OpenCV's frames are BGR; None: as they are.
CONVERSIONS: dict[str, int | None] = {
    "bgr8": None,
    "rgb8": cv2.COLOR_BGR2RGB,
    "bgra8": cv2.COLOR_BGR2BGRA,
    "rgba8": cv2.COLOR_BGR2RGBA,
    "mono8": cv2.COLOR_BGR2GRAY,
}
SUMMARY = "Publishes a video, images or a V4L2 device as a camera does, on topic image."
FILE_SUFFIXES = {"jpeg": ".jpg", "png": ".png"}


class CameraSource(Node):
    """Publishes the frames of a source with the present time as their stamp.

    Raises:
        ParameterError: a parameter value is not accepted.
        SourceError: the source cannot be opened.
    """

    def __init__(self) -> None:
        super().__init__("camera_source")
        settings = DeclaredParameters(self, CAMERA_SOURCE_PARAMETERS, CameraSourceSettings).current
        self._encoding = settings.encoding
        self._size = (settings.width, settings.height)
        self._frame_id = settings.frame_id
        self._loop = settings.loop
        self._source: FrameSource = open_source(settings.source)
        self._rate = settings.rate or self._source.rate
        compressed = self._encoding in FILE_SUFFIXES
        topic = self.resolve_topic_name("image")
        self._reliable = settings.reliability == "reliable"
        self._publisher = qos.create_publisher(
            self,
            CompressedImage if compressed else Image,
            f"{topic}/compressed" if compressed else topic,
            qos.result(
                ReliabilityPolicy.RELIABLE if self._reliable else ReliabilityPolicy.BEST_EFFORT
            ),
        )
        self._field_of_view = math.radians(settings.field_of_view)
        self._info: CameraInfo | None = None
        if self._field_of_view:
            # Where it is remapped to, or beside the images, where camera drivers put it.
            self._info_publisher = qos.create_publisher(
                self, CameraInfo, calibration_topic(self, TopicNames("")), qos.result()
            )
        self._message = CompressedImage() if compressed else Image()
        self.published = 0

    def run(self, stop: threading.Event) -> None:
        """Publish until the end of the source or until `stop` is set.

        Raises:
            SourceError: the source stopped giving frames.
        """
        topic, rate = self._publisher.topic_name, self._rate
        self.get_logger().info(
            f"{self._source.description} on {topic}, {self._encoding}, {rate:g} images per second"
        )
        due = time.monotonic()
        for frame in self._frames():
            if wait_for(stop, due - time.monotonic()):
                return
            self._publish(frame)
            # A source that is late does not make up for it with a burst.
            due = max(due + 1.0 / rate, time.monotonic() - 1.0 / rate)
        self.get_logger().info(f"end of the source after {self.published} images")
        if self._reliable:
            self._publisher.wait_for_all_acked(Duration(seconds=2))

    def close(self) -> None:
        """Give the source back."""
        self._source.close()

    def _frames(self) -> Iterator[NDArray[np.uint8]]:
        while True:
            yield from self._source.frames()
            if not self._loop:
                return

    def _publish(self, frame: NDArray[np.uint8]) -> None:
        width, height = self._size
        if width or height:
            size = (width or frame.shape[1], height or frame.shape[0])
            frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        header = Header(frame_id=self._frame_id, stamp=self.get_clock().now().to_msg())
        if self._encoding in FILE_SUFFIXES:
            _, data = cv2.imencode(FILE_SUFFIXES[self._encoding], frame)
            self._message.header = header
            self._message.format = f"bgr8; {self._encoding} compressed bgr8"
            self._message.data = array_field(np.asarray(data, np.uint8))
        else:
            code = CONVERSIONS[self._encoding]
            pixels = frame if code is None else cv2.cvtColor(frame, code)
            MESSAGES.fill_image(self._message, header, pixels, self._encoding)
        self._publish_info(header, frame.shape[1], frame.shape[0])
        self._publisher.publish(self._message)
        self.published += 1

    def _publish_info(self, header: Header, width: int, height: int) -> None:
        """Publish the calibration of a frame, first, so that it is there when the image comes."""
        if not self._field_of_view:
            return
        if self._info is None or (self._info.width, self._info.height) != (width, height):
            self._info = pinhole(width, height, self._field_of_view)
        self._info.header = header
        self._info_publisher.publish(self._info)


def pinhole(width: int, height: int, field_of_view: float) -> CameraInfo:
    """Return the calibration of a camera without distortion.

    Args:
        field_of_view: horizontal, radians.
    """
    focal = 0.5 * width / math.tan(0.5 * field_of_view)
    x, y = 0.5 * (width - 1), 0.5 * (height - 1)
    return CameraInfo(
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def main(arguments: list[str] | None = None) -> int:
    """Publish until the end of the source, SIGINT or SIGTERM.

    Returns:
        0, or 1 with one line of reason if the source or a parameter cannot be used.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if wants_help(given):
        print(usage("camera_source", SUMMARY, CAMERA_SOURCE_PARAMETERS))
        return 0
    stop = initialize(arguments)
    try:
        node = CameraSource()
    except (ParameterError, SourceError) as error:
        get_logger("camera_source").fatal(f"not started: {error}")
        rclpy.shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=spin, args=(executor, stop), name="executor", daemon=True)
    spinner.start()
    status = 0
    try:
        node.run(stop)
    except SourceError as error:
        node.get_logger().fatal(str(error))
        status = 1
    stop.set()
    executor.shutdown(5.0)
    spinner.join(5.0)
    node.close()
    node.destroy_node()
    rclpy.shutdown()
    return status
