"""Puts what a mask covers into a costmap, without depth: a consumer of ~/mask/image.

    python3 mask_to_costmap.py --ros-args -r mask:=/rmpsam/mask/image \
        -r camera_info:=/rmpsam/mask/camera_info -p height:=0.4 -p pitch:=0.1

Things stand on the floor: where a column of the mask ends below is where its ray meets the floor.
These points are a PointCloud2 on `obstacles`, in the frame of the camera, for the obstacle layer:

    obstacle_layer:
      plugin: nav2_costmap_2d::ObstacleLayer
      observation_sources: people
      people:
        topic: /obstacles
        data_type: PointCloud2
        marking: true
        clearing: false
        min_obstacle_height: -0.2   # the points are on the floor
        max_obstacle_height: 0.2

Parameter mask_classes of the node chooses what is in the mask. The images must be rectified.
"""

from __future__ import annotations

import math
import sys
from array import array

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from rmpsam_ros.messages import pixels


class MaskToCostmap(Node):
    """Publishes where the mask meets the floor."""

    def __init__(self) -> None:
        super().__init__("mask_to_costmap")
        self._height = self.declare_parameter("height", 0.4).value  # of the camera, metres
        self._pitch = self.declare_parameter("pitch", 0.0).value  # radians, down is positive
        self._range = self.declare_parameter("max_range", 5.0).value  # metres
        self._stride = self.declare_parameter("stride", 4).value  # every n-th column
        self._info: CameraInfo | None = None
        self._publisher = self.create_publisher(PointCloud2, "obstacles", 5)
        self.create_subscription(CameraInfo, "camera_info", self._on_info, 5)
        self.create_subscription(Image, "mask", self._on_mask, 5)

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_mask(self, message: Image) -> None:
        info = self._info
        if info is None or (info.height, info.width) != (message.height, message.width):
            self.get_logger().warning("no camera_info of this size", throttle_duration_sec=5.0)
            return
        try:
            mask = pixels(message) != 0
        except ValueError as error:
            self.get_logger().warning(f"mask not used: {error}", throttle_duration_sec=5.0)
            return
        rows, columns = lowest_pixels(mask, self._stride)
        points = on_the_floor(rows, columns, info.k, self._height, self._pitch, self._range)
        self._publisher.publish(cloud(message.header, points))


def lowest_pixels(mask: NDArray[np.bool_], stride: int) -> tuple[NDArray, NDArray]:
    """Return row and column of the lowest pixel of every n-th column that has one, (N,) each."""
    columns = np.arange(0, mask.shape[1], stride)
    part = mask[::-1, ::stride]
    found = part.any(axis=0)
    return mask.shape[0] - 1 - part.argmax(axis=0)[found], columns[found]


def on_the_floor(rows, columns, k, height: float, pitch: float, max_range: float) -> NDArray:
    """Return where the rays of pixels meet the floor, (N, 3) float32 in the optical frame.

    Pixels at or above the horizon have no such place: they are left out, as is what is farther
    than max_range.

    Args:
        rows, columns: (M,) pixels; k: nine numbers of camera_info.
        height: of the camera above the floor, metres; pitch: how far it looks down, radians.
    """
    fx, cx, fy, cy = k[0], k[2], k[4], k[5]
    rays = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones(len(rows))], axis=1)
    down = rays @ np.array([0.0, math.cos(pitch), math.sin(pitch)])
    points = rays[down > 1e-6] * (height / down[down > 1e-6])[:, None]
    return points[np.linalg.norm(points, axis=1) <= max_range].astype(np.float32)


def cloud(header: Header, points: NDArray[np.float32]) -> PointCloud2:
    """Fill a PointCloud2 from points (N, 3)."""
    fields = [
        PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
        for k, name in enumerate("xyz")
    ]
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=sys.byteorder == "big",
        point_step=12,
        row_step=12 * len(points),
        data=array("B", points.tobytes()),
        is_dense=True,
    )


def main() -> None:
    """Run until SIGINT."""
    rclpy.init()
    try:
        rclpy.spin(MaskToCostmap())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()
