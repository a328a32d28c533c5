"""From masks and depth to places in space: pure functions on arrays, free of ROS.

The frame is the optical frame of the camera: x to the right, y down, z forward, metres. Pixel
(0, 0) is the centre of the top left pixel.
"""

from rmpsam_ros.geometry.camera_model import CameraModel, camera_model
from rmpsam_ros.geometry.cloud import POINT, labelled_points
from rmpsam_ros.geometry.depth_image import DepthImage, check_same_camera
from rmpsam_ros.geometry.errors import GeometryError
from rmpsam_ros.geometry.positions import ObjectPosition, locate
from rmpsam_ros.geometry.tracks import LocatedTrack, locate_tracks

__all__ = [
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
]
