"""From things found in space to messages of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from std_msgs.msg import Header

from rmpsam_ros.geometry import ObjectPosition
from rmpsam_ros.msg import TrackPosition, TrackPositionArray

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.labels import LabelSet
    from rmpsam_ros.tracking import Track


@dataclass(frozen=True, slots=True)
class FoundTrack:
    """A track and where it is."""

    track: Track
    place: ObjectPosition


def positions_message(
    header: Header, offset: int, found: Sequence[FoundTrack], labels: LabelSet
) -> TrackPositionArray:
    """Fill a TrackPositionArray; offset: of the depth image's stamp, nanoseconds."""
    whole, rest = divmod(offset, 1_000_000_000)
    return TrackPositionArray(
        header=header,
        offset=Duration(sec=whole, nanosec=rest),
        positions=[
            TrackPosition(
                id=one.track.id,
                state=int(one.track.state),
                class_id=one.track.class_id,
                class_name=labels.labels[one.track.class_id].name,
                score=float(one.track.score),
                position=point(one.place.position),
                covariance=one.place.covariance.reshape(9),
                box_center=point(one.place.box_center),
                box_size=vector(one.place.box_size),
                coverage=float(one.place.coverage),
            )
            for one in found
        ],
    )


def point(values: NDArray) -> Point:
    """Fill a Point."""
    x, y, z = values.tolist()
    return Point(x=x, y=y, z=z)


def vector(values: NDArray) -> Vector3:
    """Fill a Vector3."""
    x, y, z = values.tolist()
    return Vector3(x=x, y=y, z=z)
