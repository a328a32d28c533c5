"""Messages as ROS 2 generates their classes.

Array fields are filled through ``array.array``: it is the one type that message classes take over
without looking at every element.
"""

from __future__ import annotations

from array import array
from dataclasses import fields
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from std_msgs.msg import Header

from rmpsam_ros.messages import MessageFiller
from rmpsam_ros.msg import (
    InstanceTrack,
    Label,
    LabelTable,
    Latency,
    PanopticSegment,
    PromptedMask,
    PromptedMaskArray,
    RunLengthMask,
    TrackPosition,
    TrackPositionArray,
)
from rmpsam_ros.node.input.camera_statistics import CameraStatistics, FrameTimes
from rmpsam_ros.node.threads.frame_slot import FrameSlot

_TYPE_CODES = {np.dtype(np.uint8): "B", np.dtype(np.uint16): "H", np.dtype(np.uint32): "I"}


def array_field(values: NDArray[Any]) -> array[Any]:
    """Copy an array of uint8, uint16 or uint32 into what message classes store."""
    field = array(_TYPE_CODES[values.dtype])
    field.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return field


class RosTypes:
    """The classes of the parts of messages, see `rmpsam_ros.messages.MessageTypes`."""

    Duration = Duration
    InstanceTrack = InstanceTrack
    Label = Label
    LabelTable = LabelTable
    PanopticSegment = PanopticSegment
    Point = Point
    PromptedMask = PromptedMask
    PromptedMaskArray = PromptedMaskArray
    RunLengthMask = RunLengthMask
    TrackPosition = TrackPosition
    TrackPositionArray = TrackPositionArray
    Vector3 = Vector3
    array = staticmethod(array_field)


MESSAGES = MessageFiller(RosTypes())


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
