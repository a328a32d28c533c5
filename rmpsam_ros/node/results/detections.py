"""Tracks as vision_msgs has them, where that package is installed.

The class of a detection is its name, the id that of its track.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header

from rmpsam_ros.geometry import LocatedTrack
from rmpsam_ros.node.results.messages import MESSAGES

try:
    from vision_msgs.msg import (
        Detection2D,
        Detection2DArray,
        Detection3D,
        Detection3DArray,
        ObjectHypothesisWithPose,
    )
except ImportError:
    Detection2DArray = Detection3DArray = None

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult
    from rmpsam_ros.segmentation.labels import LabelSet
    from rmpsam_ros.tracking import Track

NOT_INSTALLED = (
    "vision_msgs is not installed: ~/detections, ~/detections_3d and ~/panoptic/label_info are "
    "not published; on a ROS 2 installation: apt install ros-$ROS_DISTRO-vision-msgs"
)


def installed() -> bool:
    """Tell whether vision_msgs is there."""
    return Detection2DArray is not None


def detections_message(header: Header, result: FrameResult, labels: LabelSet) -> Any:
    """Fill a Detection2DArray with the tracks that are seen in the frame."""
    message = Detection2DArray(header=header)
    for track in result.tracks:
        mask = result.track_masks.get(track.id)
        if mask is None:
            continue
        detection = Detection2D(header=header, id=str(track.id))
        detection.results = [_hypothesis(track, labels)]
        x_min, y_min, x_max, y_max = mask.box
        # The box reaches from the first pixel's left edge, which is at -0.5, to the last's right.
        detection.bbox.center.position.x = (x_min + x_max - 1) / 2.0
        detection.bbox.center.position.y = (y_min + y_max - 1) / 2.0
        detection.bbox.size_x = float(x_max - x_min)
        detection.bbox.size_y = float(y_max - y_min)
        message.detections.append(detection)
    return message


def detections_3d_message(header: Header, found: Sequence[LocatedTrack], labels: LabelSet) -> Any:
    """Fill a Detection3DArray; poses have the axes of the camera."""
    message = Detection3DArray(header=header)
    for located in found:
        detection = Detection3D(header=header, id=str(located.track.id))
        hypothesis = _hypothesis(located.track, labels)
        hypothesis.pose.pose.position = MESSAGES.point(located.place.position)
        covariance = hypothesis.pose.covariance.reshape(6, 6)
        covariance[:3, :3] = located.place.covariance
        hypothesis.pose.covariance = covariance.reshape(36)
        detection.results = [hypothesis]
        detection.bbox.center.position = MESSAGES.point(located.place.box_center)
        detection.bbox.size = MESSAGES.vector(located.place.box_size)
        message.detections.append(detection)
    return message


def _hypothesis(track: Track, labels: LabelSet) -> Any:
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = labels.labels[track.class_id].name
    hypothesis.hypothesis.score = float(track.score)
    return hypothesis
