"""Finds the tracks of recorded frames in space, by the rules of the node."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from rmpsam_ros.geometry import (
    CameraModel,
    GeometryError,
    camera_model,
    check_same_camera,
    locate_tracks,
)
from rmpsam_ros.node.depth.depth_images import decode_depth
from rmpsam_ros.node.depth.matching import Match, StampMatcher
from rmpsam_ros.node.input.images import ImageError
from rmpsam_ros.node.parameters.settings import FixedSettings, Settings
from rmpsam_ros.recordings.cameras import CAMERA_INFO, IMAGE, CameraTopics
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.events import CameraCounts, LocatedFrame, ProcessedFrame
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.topics import Recorded

MAX_WAITING = 64  # results that wait for depth; where it comes later than that, there is none


class DepthRun:
    """Brings the frames of one camera and its recorded depth together.

    A frame waits until a depth image of its time, or of a later time, has been read.
    """

    def __init__(
        self,
        topics: CameraTopics,
        values: Mapping[str, Any],
        types: RecordedTypes,
        counts: CameraCounts,
    ) -> None:
        self._topics = topics
        self._types = types
        self._counts = counts
        self._rectified = values["rectified"]
        self._matcher: StampMatcher[Any] = StampMatcher(
            threading.Condition(), FixedSettings(Settings(**values))
        )
        self._waiting: deque[ProcessedFrame] = deque()
        self._info: Recorded | None = None
        self._model: CameraModel | None = None

    def add_depth(self, recorded: Recorded) -> None:
        """Take in a depth image; one that cannot be read counts as none."""
        try:
            message = self._types.deserialize(recorded.data, IMAGE)
        except RecordingError as error:
            self._counts.without_depth[str(error)] += 1
            return
        stamp = message.header.stamp
        nanoseconds = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
        self._matcher.keep(nanoseconds or recorded.time, message)

    def add_info(self, recorded: Recorded) -> None:
        """Take in a calibration; it holds for all frames until the next one."""
        if self._info is None or _content(recorded) != _content(self._info):
            self._model = None
        self._info = recorded

    def hold(self, stamp: int) -> None:
        """Keep the depth of an image that is to come, as the node does."""
        self._matcher.hold(stamp)

    def add(self, frame: ProcessedFrame) -> None:
        """Leave a frame to be located."""
        self._waiting.append(frame)

    def settled(self) -> Iterator[LocatedFrame]:
        """Yield the frames whose depth is there."""
        while self._waiting and (
            self._matcher.settled(self._waiting[0].stamp) or len(self._waiting) > MAX_WAITING
        ):
            yield from self._locate(self._waiting.popleft())

    def rest(self) -> Iterator[LocatedFrame]:
        """Yield the frames that still wait, at the end."""
        while self._waiting:
            yield from self._locate(self._waiting.popleft())

    def _locate(self, frame: ProcessedFrame) -> Iterator[LocatedFrame]:
        match = self._matcher.find(frame.stamp)
        if match is None:
            self._counts.without_depth["no depth image of its time"] += 1
            return
        try:
            located = self._located(frame, match)
        except (GeometryError, ImageError, RecordingError) as error:
            self._counts.without_depth[" ".join(str(error).split())] += 1
            return
        self._counts.located += 1
        yield LocatedFrame(
            frame.camera, frame.header, frame.time, match.offset, tuple(located), frame.pipeline
        )

    def _located(self, frame: ProcessedFrame, match: Match[Any]) -> list[Any]:
        height, width = frame.result.height, frame.result.width
        depth = decode_depth(match.item)
        check_same_camera(frame.header.frame_id, match.item.header.frame_id)
        depth.check_fits(height, width)
        camera = self._camera()
        camera.check_size(height, width)
        return locate_tracks(frame.result.tracks, frame.result.track_masks, depth, camera)

    def _camera(self) -> CameraModel:
        if self._info is None:
            raise GeometryError(f"no camera_info on {self._topics.info}")
        if self._model is None:
            message = self._types.deserialize(self._info.data, CAMERA_INFO)
            self._model = camera_model(message, self._rectified)
        return self._model


def _content(info: Recorded) -> bytes:
    """Return a calibration without its stamp."""
    return bytes(info.data[12:])  # behind encapsulation, seconds and nanoseconds
