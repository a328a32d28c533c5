"""Frames and masks as messages for the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmpsam_ros.console.encoding import Choice, encode_jpeg
from rmpsam_ros.console.frames import Frame, nanoseconds
from rmpsam_ros.console.wire import Packer
from rmpsam_ros.node.input.images import WHITE_16
from rmpsam_ros.segmentation.labels import LabelSet, generate_color
from rmpsam_ros.segmentation.overlay import segment_color
from rmpsam_ros.segmentation.prompt_overlay import object_color

TRACK_STATES = {1: "tentative", 2: "confirmed", 3: "lost"}
PROMPT_STATES = {0: "single", 1: "tracked", 2: "lost"}


def pack_frame(
    frame: Frame,
    camera: str,
    labels: LabelSet | None,
    choice: Choice,
    mono16_white: int = WHITE_16,
) -> bytes:
    """Return a whole frame, without prefix.

    Raises:
        ImageError: the camera image cannot be read.
    """
    packer = Packer()
    jpeg, (height, width) = encode_jpeg(frame.image, choice, mono16_white)
    header: dict[str, Any] = {
        "type": "frame",
        "number": frame.number,
        "camera": camera,
        "stamp": str(frame.stamp),
        "frame_id": frame.image.header.frame_id[:200],
        "height": height,
        "width": width,
        "jpeg": packer.add(jpeg),
    }
    if frame.panoptic is not None:
        header["panoptic"] = _panoptic(frame.panoptic, labels, packer)
    if frame.tracks is not None:
        header["tracks"] = [_track(track) for track in frame.tracks.tracks]
    if frame.prompted is not None:
        header["prompts"] = [prompted(mask, packer) for mask in frame.prompted.masks]
    if frame.positions is not None:
        header["positions"] = [_position(position) for position in frame.positions.positions]
    return packer.pack(header)


def pack_masks(header: Mapping[str, Any], masks: Sequence[Any]) -> bytes:
    """Return an answer with PromptedMask messages, without prefix."""
    packer = Packer()
    found = [prompted(mask, packer) for mask in masks]
    return packer.pack({**header, "masks": found})


def prompted(mask: Any, packer: Packer) -> dict[str, Any]:
    """Return a PromptedMask message as the browser gets it; its runs go to the packer."""
    return {
        "object_id": mask.object_id,
        "state": PROMPT_STATES.get(mask.state, "lost"),
        "score": round(float(mask.score), 4),
        "track_id": mask.track_id,
        "reason": mask.reason,
        "stamp": str(nanoseconds(mask.stamp)),
        "color": object_color(mask.object_id),
        **_runs(mask.mask, packer),
    }


def _panoptic(message: Any, labels: LabelSet | None, packer: Packer) -> dict[str, Any]:
    return {
        "height": message.height,
        "width": message.width,
        "ids": packer.add(np.frombuffer(message.run_ids, np.uint16)),
        "lengths": packer.add(np.frombuffer(message.run_lengths, np.uint32)),
        "segments": [
            {
                "id": segment.id,
                "class_id": segment.class_id,
                "name": segment.class_name,
                "thing": segment.is_thing,
                "score": round(float(segment.score), 4),
                "area": segment.area,
                "box": _box(segment.box),
                "track_id": segment.track_id,
                "color": _color(segment, labels),
            }
            for segment in message.segments
        ],
    }


def _color(segment: Any, labels: LabelSet | None) -> tuple[int, int, int]:
    """Return the colour that ~/overlay has for a segment."""
    if labels is None or segment.class_id >= labels.num_classes:
        return generate_color(segment.class_id)
    return segment_color(segment, labels, segment.track_id or None)


def _track(track: Any) -> dict[str, Any]:
    return {
        "id": track.id,
        "state": TRACK_STATES.get(track.state, "lost"),
        "class_id": track.class_id,
        "name": track.class_name,
        "score": round(float(track.score), 4),
        "age": round(track.age.sec + track.age.nanosec * 1e-9, 3),
        "hits": track.hits,
        "segment": track.segment_id,
        "box": _box(track.mask.box),
    }


def _position(message: Any) -> dict[str, Any]:
    position, size = message.position, message.box_size
    return {
        "id": message.id,
        "name": message.class_name,
        "position": [round(float(value), 4) for value in (position.x, position.y, position.z)],
        "size": [round(float(value), 4) for value in (size.x, size.y, size.z)],
        "coverage": round(float(message.coverage), 3),
    }


def _runs(mask: Any, packer: Packer) -> dict[str, Any]:
    return {
        "height": mask.height,
        "width": mask.width,
        "box": _box(mask.box),
        "counts": packer.add(np.frombuffer(mask.counts, np.uint32)),
    }


def _box(box: Any) -> list[int]:
    return [box.x_offset, box.y_offset, box.width, box.height]
