"""Tracks as outlines with names, where foxglove_msgs is installed.

Foxglove and Lichtblick draw them over the camera image themselves: sharp, and without an overlay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header

try:
    from foxglove_msgs.msg import (
        Color,
        ImageAnnotations,
        Point2,
        PointsAnnotation,
        TextAnnotation,
    )
except ImportError:
    ImageAnnotations = None

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult
    from rmpsam_ros.segmentation.labels import LabelSet

THICKNESS = 2.0  # pixels of the image
FONT_SIZE = 14.0
FILL_OPACITY = 0.3


NOT_INSTALLED = (
    "foxglove_msgs is not installed: ~/annotations is not published; on a ROS 2 installation: "
    "apt install ros-$ROS_DISTRO-foxglove-msgs"
)


def installed() -> bool:
    """Tell whether foxglove_msgs is there."""
    return ImageAnnotations is not None


def annotations_message(header: Header, result: FrameResult, labels: LabelSet) -> Any:
    """Fill an ImageAnnotations with the tracks that are seen in the frame.

    Its coordinates begin at the corner of the top left pixel, ours at its centre.
    """
    from rmpsam_ros.segmentation.outlines import mask_outlines
    from rmpsam_ros.segmentation.overlay import segment_color

    segments = {one.id: one for one in result.panoptic.segments}
    message = ImageAnnotations()
    for track in result.tracks:
        mask, segment = result.track_masks.get(track.id), segments.get(track.segment_id)
        if mask is None or segment is None:
            continue
        color = [part / 255.0 for part in segment_color(segment, labels, track.id)]
        for outline in mask_outlines(mask):
            part = PointsAnnotation(
                timestamp=header.stamp, type=PointsAnnotation.LINE_LOOP, thickness=THICKNESS
            )
            part.points = [Point2(x=float(x) + 0.5, y=float(y) + 0.5) for x, y in outline]
            part.outline_color = _color(color, 1.0)
            part.fill_color = _color(color, FILL_OPACITY)
            message.points.append(part)
        text = TextAnnotation(timestamp=header.stamp, font_size=FONT_SIZE)
        text.text = f"{labels.labels[track.class_id].name} {track.id}"
        text.position = Point2(x=float(mask.box[0]), y=float(mask.box[1]))
        text.text_color = _color([1.0, 1.0, 1.0], 1.0)
        text.background_color = _color(color, 0.8)
        message.texts.append(text)
    return message


def _color(color: list[float], opacity: float) -> Any:
    red, green, blue = color
    return Color(r=red, g=green, b=blue, a=opacity)
