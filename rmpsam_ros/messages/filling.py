"""From results to messages.

What is published for every frame is filled into the message of the frame before, all fields of it:
a constructor first makes a default for every part, whatever it is given.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # importing them takes seconds, which belong to the configuration of the node
    from rmpsam_ros.geometry import LocatedTrack
    from rmpsam_ros.pipeline import FrameResult, Pipeline, PromptedMask
    from rmpsam_ros.segmentation.labels import LabelSet
    from rmpsam_ros.segmentation.run_length import RunLengthMask

Part = TypeVar("Part")


class MessageTypes(Protocol):
    """Message classes by their names.

    Each is called with any of its fields by name, and has a default for every other one.
    """

    Duration: Any
    InstanceTrack: Any
    Label: Any
    LabelTable: Any
    PanopticSegment: Any
    Point: Any
    PromptedMask: Any
    PromptedMaskArray: Any
    RunLengthMask: Any
    TrackPosition: Any
    TrackPositionArray: Any
    Vector3: Any

    def array(self, values: NDArray[Any]) -> Any:
        """Copy an array of uint8, uint16 or uint32 into what array fields of messages store."""


class Headers(Protocol):
    """Headers of frames by their stamps."""

    def find(self, stamp: float) -> Any:
        """Return the header of a frame; stamp: the pipeline's, seconds."""


class MessageFiller:
    """Fills messages; `types` are the classes of their parts."""

    def __init__(self, types: MessageTypes) -> None:
        self._types = types

    def fill_panoptic(
        self, message: Any, header: Any, result: FrameResult, labels: LabelSet
    ) -> Any:
        """Fill a PanopticSegmentation, which may be one that was filled before, and return it."""
        message.header = header
        message.height, message.width = result.height, result.width
        segments = result.panoptic.segments
        _resize(message.segments, len(segments), self._types.PanopticSegment)
        for filled, segment in zip(message.segments, segments, strict=True):
            filled.id = segment.id
            filled.class_id = segment.class_id
            filled.class_name = labels.labels[segment.class_id].name
            filled.is_thing = segment.is_thing
            filled.score = float(segment.score)
            filled.area = segment.area
            fill_region(filled.box, segment.box)
            filled.track_id = result.track_ids.get(segment.id, 0)
        message.run_ids = self._types.array(result.run_ids)
        message.run_lengths = self._types.array(result.run_lengths)
        return message

    def fill_tracks(self, message: Any, header: Any, result: FrameResult, labels: LabelSet) -> Any:
        """Fill an InstanceTrackArray, which may be one that was filled before, and return it."""
        message.header = header
        _resize(message.tracks, len(result.tracks), self._types.InstanceTrack)
        for filled, track in zip(message.tracks, result.tracks, strict=True):
            filled.id = track.id
            filled.state = int(track.state)
            filled.class_id = track.class_id
            filled.class_name = labels.labels[track.class_id].name
            filled.score = float(track.score)
            filled.age = self.duration(result.stamp - track.first_seen)
            filled.hits = track.hits
            filled.segment_id = track.segment_id
            mask = result.track_masks.get(track.id)
            if mask is None:
                filled.mask = self._types.RunLengthMask(height=result.height, width=result.width)
            else:
                self.fill_run_lengths(filled.mask, mask)
        return message

    def fill_semantic(
        self, message: Any, header: Any, result: FrameResult, pipeline: Pipeline
    ) -> Any:
        """Fill an Image with the class of every pixel, and return it."""
        dtype = pipeline.label_set.semantic_dtype
        encoding = "mono8" if dtype is np.uint8 else "16UC1"
        size = (result.height, result.width)
        pipeline.semantic_map(result, self.image_pixels(message, header, size, dtype, encoding))
        return message

    def fill_instance(
        self, message: Any, header: Any, result: FrameResult, pipeline: Pipeline
    ) -> Any:
        """Fill an Image with the instance of every pixel, and return it."""
        size = (result.height, result.width)
        pixels = self.image_pixels(message, header, size, np.uint16, "16UC1")
        pipeline.instance_map(result, pixels)
        return message

    def label_table(self, labels: LabelSet) -> Any:
        """Fill a LabelTable."""
        table = self._types.LabelTable(name=labels.name, unlabelled=labels.unlabelled)
        for label in labels.labels:
            red, green, blue = label.color
            table.labels.append(
                self._types.Label(
                    class_id=label.class_id,
                    name=label.name,
                    is_thing=label.is_thing,
                    red=red,
                    green=green,
                    blue=blue,
                )
            )
        return table

    def prompted_mask(self, prompted: PromptedMask, stamp: Any) -> Any:
        """Fill a PromptedMask; ``stamp`` is the Time of the image it belongs to."""
        return self._types.PromptedMask(
            object_id=prompted.object_id,
            state=int(prompted.state),
            score=float(prompted.score),
            track_id=prompted.track_id,
            reason=prompted.reason,
            stamp=stamp,
            mask=self.fill_run_lengths(self._types.RunLengthMask(), prompted.mask),
        )

    def prompted_masks(self, header: Any, masks: Sequence[PromptedMask], headers: Headers) -> Any:
        """Fill a PromptedMaskArray; ``header`` is for one without masks."""
        if masks:
            header = headers.find(max(mask.stamp for mask in masks))
        filled = [self.prompted_mask(mask, headers.find(mask.stamp).stamp) for mask in masks]
        return self._types.PromptedMaskArray(header=header, masks=filled)

    def positions(
        self, header: Any, offset: int, located: Sequence[LocatedTrack], labels: LabelSet
    ) -> Any:
        """Fill a TrackPositionArray; offset: of the depth image's stamp, nanoseconds."""
        whole, rest = divmod(offset, 1_000_000_000)
        return self._types.TrackPositionArray(
            header=header,
            offset=self._types.Duration(sec=whole, nanosec=rest),
            positions=[
                self._types.TrackPosition(
                    id=thing.track.id,
                    state=int(thing.track.state),
                    class_id=thing.track.class_id,
                    class_name=labels.labels[thing.track.class_id].name,
                    score=float(thing.track.score),
                    position=self.point(thing.place.position),
                    covariance=thing.place.covariance.reshape(9),
                    box_center=self.point(thing.place.box_center),
                    box_size=self.vector(thing.place.box_size),
                    coverage=float(thing.place.coverage),
                )
                for thing in located
            ],
        )

    def fill_run_lengths(self, message: Any, mask: RunLengthMask) -> Any:
        """Fill a RunLengthMask, which may be one that was filled before, and return it."""
        message.height, message.width = mask.height, mask.width
        fill_region(message.box, mask.box)
        message.counts = self._types.array(mask.counts)
        return message

    def image_pixels(
        self,
        message: Any,
        header: Any,
        shape: tuple[int, ...],
        dtype: type[np.uint8] | type[np.uint16] | np.dtype[Any],
        encoding: str,
    ) -> NDArray[Any]:
        """Fill an Image but for its pixels, and return these to be written: in its buffer.

        The message may be one that was filled before: its buffer is used again if it fits, which
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
            message.data = self._types.array(np.zeros(size, np.uint8))
        return np.frombuffer(message.data, dtype).reshape(shape)

    def fill_image(self, message: Any, header: Any, pixels: NDArray[Any], encoding: str) -> Any:
        """Write pixels (H, W) or (H, W, 3) of uint8 or uint16 into an Image, and return it.

        Its buffer is used again, see `image_pixels`.
        """
        self.image_pixels(message, header, pixels.shape, pixels.dtype, encoding)[...] = pixels
        return message

    def duration(self, seconds: float) -> Any:
        """Fill a Duration; what is below 0 becomes 0."""
        whole, rest = divmod(round(max(seconds, 0.0) * 1e9), 1_000_000_000)
        return self._types.Duration(sec=whole, nanosec=rest)

    def point(self, values: NDArray[Any]) -> Any:
        """Fill a Point from (3,)."""
        x, y, z = values.tolist()
        return self._types.Point(x=x, y=y, z=z)

    def vector(self, values: NDArray[Any]) -> Any:
        """Fill a Vector3 from (3,)."""
        x, y, z = values.tolist()
        return self._types.Vector3(x=x, y=y, z=z)


def fill_region(message: Any, box: tuple[int, int, int, int]) -> None:
    """Fill a RegionOfInterest from (x_min, y_min, x_max, y_max), right and bottom exclusive."""
    x_min, y_min, x_max, y_max = box
    message.x_offset, message.y_offset = x_min, y_min
    message.width, message.height = x_max - x_min, y_max - y_min


def _resize(parts: list[Part], number: int, create: Callable[[], Part]) -> None:
    """Make a list of parts as long as wanted; those that stay are used again."""
    del parts[number:]
    parts.extend(create() for _ in range(number - len(parts)))
