"""Boxes and names of things in space, as RViz shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from rmpsam_ros.geometry import LocatedTrack
from rmpsam_ros.node.results.messages import MESSAGES

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.labels import LabelSet

BOXES, NAMES = "boxes", "names"  # namespaces of the markers
LIFETIME = Duration(sec=5)  # for viewers that miss a deletion, and when results stop coming
OPACITY = 0.35
MIN_THICKNESS = 0.01  # metres; a flat box could not be seen from the side
TEXT_HEIGHT = 0.08  # metres


class TrackMarkers:
    """Fills marker arrays, and deletes the markers of tracks that are no longer there."""

    def __init__(self) -> None:
        self._shown: set[int] = set()

    def fill(self, header: Header, found: Sequence[LocatedTrack], labels: LabelSet) -> MarkerArray:
        """Return a box and a name for every track, and what deletes those that are gone."""
        message = MarkerArray()
        there = {_marker_id(located) for located in found}
        for gone in sorted(self._shown - there):
            for namespace in (BOXES, NAMES):
                message.markers.append(
                    Marker(header=header, ns=namespace, id=gone, action=Marker.DELETE)
                )
        for located in found:
            label = labels.labels[located.track.class_id]
            color = [channel / 255.0 for channel in label.color]
            message.markers += [_box(header, located, color), _name(header, located, label.name)]
        self._shown = there
        return message

    def forget(self) -> None:
        """Nobody looks: what was shown goes by its lifetime."""
        self._shown.clear()


def _box(header: Header, located: LocatedTrack, color: list[float]) -> Marker:
    marker = Marker(
        header=header, ns=BOXES, id=_marker_id(located), type=Marker.CUBE, action=Marker.ADD
    )
    marker.lifetime = LIFETIME
    marker.pose.position = MESSAGES.point(located.place.box_center)
    x, y, z = np.maximum(located.place.box_size, MIN_THICKNESS).tolist()
    marker.scale = Vector3(x=x, y=y, z=z)
    red, green, blue = color
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=OPACITY)
    return marker


def _name(header: Header, located: LocatedTrack, name: str) -> Marker:
    marker = Marker(
        header=header,
        ns=NAMES,
        id=_marker_id(located),
        type=Marker.TEXT_VIEW_FACING,
        action=Marker.ADD,
    )
    marker.lifetime = LIFETIME
    marker.pose.position = MESSAGES.point(located.place.box_center)
    marker.pose.position.y -= (
        float(located.place.box_size[1]) / 2.0 + TEXT_HEIGHT
    )  # above: y is down
    marker.scale.z = TEXT_HEIGHT
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    marker.text = f"{name} {located.track.id}, {np.linalg.norm(located.place.position):.2f} m"
    return marker


def _marker_id(located: LocatedTrack) -> int:
    """Bring a track id into the 31 bits that a marker has for it."""
    return located.track.id % 2**31
