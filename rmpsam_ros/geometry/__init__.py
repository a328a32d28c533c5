"""From masks and depth to places in space: pure functions on arrays, free of ROS.

The frame is the optical frame of the camera: x to the right, y down, z forward, metres. Pixel
(0, 0) is the centre of the top left pixel.

Examples:
    >>> import numpy as np
    >>> from rmpsam_ros.geometry import CameraModel, DepthImage, locate
    >>> from rmpsam_ros.segmentation.run_length import encode_mask
    >>> camera = CameraModel(height=48, width=64, fx=60.0, fy=60.0, cx=31.5, cy=23.5)
    >>> depth = DepthImage(np.full((48, 64), 2000, np.uint16))  # a wall at 2 m
    >>> mask = np.zeros((48, 64), bool)
    >>> mask[18:30, 26:38] = True
    >>> place = locate(encode_mask(mask), depth, camera)
    >>> abs(place.position.round(3)).tolist()
    [0.0, 0.0, 2.0]
"""

from rmpsam_ros.geometry.camera_model import CameraModel, camera_model
from rmpsam_ros.geometry.cloud import PLACE, POINT, labelled_points, pixel_points
from rmpsam_ros.geometry.depth_image import DepthImage, check_same_camera
from rmpsam_ros.geometry.errors import GeometryError
from rmpsam_ros.geometry.positions import ObjectPosition, locate
from rmpsam_ros.geometry.tracks import LocatedTrack, locate_tracks

__all__ = [
    "PLACE",
    "POINT",
    "CameraModel",
    "DepthImage",
    "GeometryError",
    "LocatedTrack",
    "ObjectPosition",
    "camera_model",
    "check_same_camera",
    "labelled_points",
    "locate",
    "locate_tracks",
    "pixel_points",
]
