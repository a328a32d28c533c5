"""Labelled points as a point cloud message."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from rmpsam_ros.geometry import POINT, CameraModel, DepthImage, labelled_points

if TYPE_CHECKING:
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


def cloud_message(header: Header, points: NDArray[np.void]) -> PointCloud2:
    """Fill a PointCloud2 from points (N,) of type `POINT`."""
    data = array("B")
    data.frombytes(points.tobytes())
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=_offset(name), datatype=datatype, count=1)
            for name, datatype in DATATYPES.items()
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * len(points),
        data=data,
        is_dense=True,
    )


def _offset(name: str) -> int:
    """Return where a field lies in a point, bytes."""
    return POINT.fields[name][1] if POINT.fields else 0
