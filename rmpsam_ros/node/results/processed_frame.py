"""A frame and its result, on the way to whoever publishes something of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from std_msgs.msg import Header

from rmpsam_ros.node.input.images import DecodedImage

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult, Pipeline


@dataclass(frozen=True, slots=True)
class ProcessedFrame:
    """A frame that has gone through the network.

    Attributes:
        header: of the image message.
        stamp: of the frame in the pipeline's time, nanoseconds.
        image: what the network saw, at the size of the message.
        result: what the pipeline found in it.
        pipeline: whose result it is.
    """

    header: Header
    stamp: int
    image: DecodedImage
    result: FrameResult
    pipeline: Pipeline
