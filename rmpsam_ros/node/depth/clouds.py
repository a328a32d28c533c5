"""Points as point cloud messages, and topics of clouds that keep a rate.

Not made by ``sensor_msgs_py``, which swaps height and width of organized clouds; it reads these.
"""

from __future__ import annotations

import sys
import time
from array import array
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from rmpsam_ros.geometry import CameraModel, DepthImage, labelled_points, pixel_points

if TYPE_CHECKING:
    from rclpy.publisher import Publisher
    from std_msgs.msg import Header

    from rmpsam_ros.node.results.processed_frame import ProcessedFrame

# rgb is spelled as a float for the tools that know no other colour: PCL and RViz.
DATATYPES = {
    "x": PointField.FLOAT32,
    "y": PointField.FLOAT32,
    "z": PointField.FLOAT32,
    "rgb": PointField.FLOAT32,
    "class_id": PointField.UINT16,
    "instance_id": PointField.UINT16,
}


class CloudTopic:
    """A publisher of clouds, and when the next one is due."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._last = 0.0

    def is_due(self, rate: float) -> bool:
        """Tell whether somebody subscribes and the last cloud is old enough; rate: per second."""
        if not self.publisher.get_subscription_count():
            return False
        return time.monotonic() - self._last >= 1.0 / rate

    def publish(self, cloud: PointCloud2) -> None:
        """Publish a cloud that was due."""
        self._last = time.monotonic()
        self.publisher.publish(cloud)


def labelled_cloud(
    frame: ProcessedFrame, depth: DepthImage, camera: CameraModel, stride: int
) -> PointCloud2:
    """Return every stride-th pixel with a depth as a point (x, y, z, colour, class, instance)."""
    points = labelled_points(
        frame.image.pixels,
        frame.image.channel_order,
        frame.pipeline.semantic_map(frame.result),
        frame.pipeline.instance_map(frame.result),
        depth,
        camera,
        stride,
    )
    return cloud_message(frame.header, points)


def organized_cloud(frame: ProcessedFrame, depth: DepthImage, camera: CameraModel) -> PointCloud2:
    """Return every pixel as a point (x, y, z), NaN where its depth is unknown."""
    points = pixel_points(depth, camera, frame.result.height, frame.result.width)
    return cloud_message(frame.header, points)


def cloud_message(header: Header, points: NDArray[np.void]) -> PointCloud2:
    """Fill a PointCloud2 from points: (N,) all known, or (H, W), of which some are NaN."""
    data = array("B")
    data.frombytes(points.tobytes())
    height, width = points.shape if points.ndim == 2 else (1, len(points))
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[
            PointField(name=name, offset=offset, datatype=DATATYPES[name], count=1)
            for name, (_, offset, *_) in (points.dtype.fields or {}).items()
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=points.dtype.itemsize,
        row_step=points.dtype.itemsize * width,
        data=data,
        is_dense=points.ndim == 1,
    )
