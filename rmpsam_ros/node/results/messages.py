"""From results to messages.

Array fields are filled through ``array.array``: it is the one type that message classes take over
without looking at every element.

What is published for every frame is filled into the message of the frame before, all fields of it:
a constructor first makes a default for every part, whatever it is given.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from builtin_interfaces.msg import Duration, Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from rmpsam_ros.msg import (
    InstanceTrack,
    InstanceTrackArray,
    Label,
    LabelTable,
    Latency,
    PanopticSegment,
    PanopticSegmentation,
    PromptedMask,
    PromptedMaskArray,
    RunLengthMask,
)
from rmpsam_ros.node.input.camera_statistics import CameraStatistics, FrameTimes
from rmpsam_ros.node.threads.frame_slot import FrameSlot

if TYPE_CHECKING:  # importing them takes seconds, which belong to the configuration of the node
    from rmpsam_ros import pipeline
    from rmpsam_ros.node.input.frame_headers import FrameHeaders
    from rmpsam_ros.pipeline import FrameResult
    from rmpsam_ros.segmentation.labels import LabelSet
    from rmpsam_ros.segmentation.run_length import RunLengthMask as MaskRuns

Part = TypeVar("Part")

_TYPE_CODES = {np.dtype(np.uint8): "B", np.dtype(np.uint16): "H", np.dtype(np.uint32): "I"}


def array_field(values: NDArray[Any]) -> array[Any]:
    """Copy an array of uint8, uint16 or uint32 into what message classes store."""
    field = array(_TYPE_CODES[values.dtype])
    field.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return field


def fill_panoptic(
    message: PanopticSegmentation, header: Header, result: FrameResult, labels: LabelSet
) -> PanopticSegmentation:
    """Fill a PanopticSegmentation, which may be one that was published before, and return it."""
    message.header = header
    message.height, message.width = result.height, result.width
    _resize(message.segments, len(result.panoptic.segments), PanopticSegment)
    for segment, one in zip(message.segments, result.panoptic.segments, strict=True):
        segment.id = one.id
        segment.class_id = one.class_id
        segment.class_name = labels.labels[one.class_id].name
        segment.is_thing = one.is_thing
        segment.score = float(one.score)
        segment.area = one.area
        fill_region(segment.box, one.box)
        segment.track_id = result.track_ids.get(one.id, 0)
    message.run_ids = array_field(result.run_ids)
    message.run_lengths = array_field(result.run_lengths)
    return message


def fill_tracks(
    message: InstanceTrackArray, header: Header, result: FrameResult, labels: LabelSet
) -> InstanceTrackArray:
    """Fill an InstanceTrackArray, which may be one that was published before, and return it."""
    message.header = header
    _resize(message.tracks, len(result.tracks), InstanceTrack)
    for track, one in zip(message.tracks, result.tracks, strict=True):
        track.id = one.id
        track.state = int(one.state)
        track.class_id = one.class_id
        track.class_name = labels.labels[one.class_id].name
        track.score = float(one.score)
        track.age = duration(result.stamp - one.first_seen)
        track.hits = one.hits
        track.segment_id = one.segment_id
        mask = result.track_masks.get(one.id)
        if mask is None:
            track.mask = RunLengthMask(height=result.height, width=result.width)
        else:
            fill_run_lengths(track.mask, mask)
    return message


def _resize(parts: list[Part], number: int, create: Callable[[], Part]) -> None:
    """Make a list of parts as long as wanted; those that stay are used again."""
    del parts[number:]
    parts.extend(create() for _ in range(number - len(parts)))


def label_table_message(labels: LabelSet) -> LabelTable:
    """Fill a LabelTable."""
    table = LabelTable(name=labels.name, unlabelled=labels.unlabelled)
    for one in labels.labels:
        red, green, blue = one.color
        table.labels.append(
            Label(
                class_id=one.class_id,
                name=one.name,
                is_thing=one.is_thing,
                red=red,
                green=green,
                blue=blue,
            )
        )
    return table


def prompted_mask_message(
    one: pipeline.PromptedMask | pipeline.PromptedObject, stamp: Time
) -> PromptedMask:
    """Fill a PromptedMask; ``stamp`` is that of the image it belongs to."""
    return PromptedMask(
        object_id=one.object_id,
        state=int(one.state),
        score=float(one.score),
        track_id=one.track_id,
        reason=one.reason,
        stamp=stamp,
        mask=fill_run_lengths(RunLengthMask(), one.mask),
    )


def prompted_masks_message(
    header: Header, masks: Sequence[pipeline.PromptedMask], headers: FrameHeaders
) -> PromptedMaskArray:
    """Fill a PromptedMaskArray; ``header`` is for one without masks."""
    if masks:
        header = headers.find(max(one.stamp for one in masks))
    filled = [prompted_mask_message(one, headers.find(one.stamp).stamp) for one in masks]
    return PromptedMaskArray(header=header, masks=filled)


def fill_run_lengths(message: RunLengthMask, mask: MaskRuns) -> RunLengthMask:
    """Fill a RunLengthMask, which may be one that was published before, and return it."""
    message.height, message.width = mask.height, mask.width
    fill_region(message.box, mask.box)
    message.counts = array_field(mask.counts)
    return message


def fill_region(message: RegionOfInterest, box: tuple[int, int, int, int]) -> None:
    """Fill a RegionOfInterest from (x_min, y_min, x_max, y_max), right and bottom exclusive."""
    x_min, y_min, x_max, y_max = box
    message.x_offset, message.y_offset = x_min, y_min
    message.width, message.height = x_max - x_min, y_max - y_min


def latency_message(
    header: Header, times: FrameTimes, statistics: CameraStatistics, slot: FrameSlot[Any]
) -> Latency:
    """Fill a Latency."""
    message = Latency(
        header=header,
        frames_received=slot.received,
        frames_processed=statistics.processed,
        frames_dropped=slot.dropped,
        frames_failed=statistics.failed,
    )
    for stage in fields(times):
        setattr(message, f"{stage.name}_ms", 1000.0 * getattr(times, stage.name))
    return message


def duration(seconds: float) -> Duration:
    """Fill a Duration; what is below 0 becomes 0."""
    whole, rest = divmod(round(max(seconds, 0.0) * 1e9), 1_000_000_000)
    return Duration(sec=whole, nanosec=rest)


def image_pixels(
    message: Image,
    header: Header,
    shape: tuple[int, ...],
    dtype: type[np.uint8] | type[np.uint16] | np.dtype[Any],
    encoding: str,
) -> NDArray[Any]:
    """Fill an image message but for its pixels, and return these to be written: in its buffer.

    The message may be one that was published before: its buffer is used again if it fits, which
    spares the allocation.

    Args:
        shape: (H, W) or (H, W, 3); dtype: uint8 or uint16.
    """
    message.header = header
    message.height, message.width = shape[:2]
    message.encoding = encoding
    message.is_bigendian = sys.byteorder == "big"
    message.step = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    size = message.step * message.height
    if len(message.data) != size:
        message.data = array("B", bytes(size))
    return np.frombuffer(message.data, dtype).reshape(shape)


def fill_image(message: Image, header: Header, pixels: NDArray[Any], encoding: str) -> None:
    """Write pixels (H, W) or (H, W, 3) of uint8 or uint16 into an image message.

    Its buffer is used again, see `image_pixels`.
    """
    image_pixels(message, header, pixels.shape, pixels.dtype, encoding)[...] = pixels
