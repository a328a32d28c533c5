"""Positions of tracks in space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmpsam_ros.geometry.camera_model import CameraModel
from rmpsam_ros.geometry.depth_image import DepthImage
from rmpsam_ros.geometry.positions import ObjectPosition, locate

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.run_length import RunLengthMask
    from rmpsam_ros.tracking import Track


@dataclass(frozen=True, slots=True)
class LocatedTrack:
    """A track and where it is."""

    track: Track
    place: ObjectPosition


def locate_tracks(
    tracks: Iterable[Track],
    masks: Mapping[int, RunLengthMask],
    depth: DepthImage,
    camera: CameraModel,
) -> list[LocatedTrack]:
    """Return every track that has enough depth on its mask (masks by track id)."""
    located = []
    for track in tracks:
        mask = masks.get(track.id)
        place = None if mask is None else locate(mask, depth, camera)
        if place is not None:
            located.append(LocatedTrack(track, place))
    return located
