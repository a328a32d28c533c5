"""One camera of a recording on its way through the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rmpsam_ros.node.input.images import DecodedImage, ImageError
from rmpsam_ros.node.input.reading import read_image
from rmpsam_ros.recordings.cameras import CameraTopics
from rmpsam_ros.recordings.depth import DepthRun
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.events import CameraCounts, FrameHeaders, LocatedFrame, ProcessedFrame
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.prompts_file import RecordedPrompt
from rmpsam_ros.recordings.stamp_order import StampOrder
from rmpsam_ros.recordings.topics import Recorded
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.prompt_types import PromptError
from rmpsam_ros.tracking import TrackState

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult, Pipeline

MAX_REASONS = 50  # kept apart; a damaged recording may have one for every image
Event = ProcessedFrame | LocatedFrame


class CameraRun:
    """Decodes, processes and locates the images of one camera, every one of them.

    An image that cannot be read is counted with the reason, and the next one is taken.

    Args:
        pipeline: of this camera alone.
        values: parameters of the node.
        prompts: of this camera, sorted by stamp.

    Attributes:
        counts: what became of the images.
    """

    def __init__(
        self,
        topics: CameraTopics,
        pipeline: Pipeline,
        values: Mapping[str, Any],
        types: RecordedTypes,
        prompts: Sequence[RecordedPrompt] = (),
    ) -> None:
        self._topics = topics
        self._pipeline = pipeline
        self._types = types
        self._prompts = list(prompts)
        self._headers = FrameHeaders()
        self._take_damaged = values["damaged_images"] == "use"
        self._mono16_white = values["mono16_white"]
        self._backward_jump = round(values["backward_jump"] * 1e9)
        self._order: StampOrder[tuple[int, int, Any]] = StampOrder(self._backward_jump)
        self._newest: int | None = None
        self.counts = CameraCounts()
        self.depth: DepthRun | None = None
        if topics.depth:
            self.depth = DepthRun(topics, values, types, self.counts)

    @property
    def unused_prompts(self) -> list[RecordedPrompt]:
        """Prompts whose time has not come."""
        return self._prompts

    def add(self, recorded: Recorded) -> Iterator[Event]:
        """Take in an image, and yield what is complete with it."""
        try:
            message = self._types.deserialize(recorded.data, recorded.topic.type_name)
        except RecordingError as error:
            self._fail(str(error))
            return
        stamp = nanoseconds(message.header.stamp) or recorded.time
        if self.depth is not None:
            self.depth.hold(stamp)
        for item in self._order.put(stamp, (stamp, recorded.time, message)):
            yield from self._process(*item)

    def located(self) -> Iterator[LocatedFrame]:
        """Yield frames whose depth has come."""
        if self.depth is not None:
            yield from self.depth.settled()

    def rest(self) -> Iterator[Event]:
        """Process what still waits, at the end."""
        for item in self._order.rest():
            yield from self._process(*item)
        if self.depth is not None:
            yield from self.depth.rest()

    def _process(self, stamp: int, time: int, message: Any) -> Iterator[Event]:
        try:
            picture = self._decode(message)
            self._reset_after_jump(stamp)
            self._headers.put(stamp * 1e-9, message.header)
            result = self._pipeline.process(picture.pixels, stamp * 1e-9, picture.channel_order)
        except (ImageError, EngineError, FloatingPointError) as error:
            self._fail(str(error))
            return
        self._newest = stamp
        result = replace(result, prompted=self._prompted(stamp, result))
        self.counts.frames += 1
        self.counts.tracks.update(
            track.id for track in result.tracks if track.state is TrackState.CONFIRMED
        )
        frame = ProcessedFrame(
            self._topics,
            message,
            stamp,
            time,
            picture,
            result,
            self._pipeline,
            self._headers,
        )
        yield frame
        if self.depth is not None:
            self.depth.add(frame)
            yield from self.depth.settled()

    def _decode(self, message: Any) -> DecodedImage:
        image = read_image(message, self._take_damaged, self._mono16_white)
        if image.damage:
            self.counts.damaged[image.damage] += 1
        return image

    def _reset_after_jump(self, stamp: int) -> None:
        """Start anew when time went back, as the node does."""
        if self._newest is not None and self._newest - stamp > self._backward_jump:
            self.counts.resets += 1
            self._pipeline.reset()

    def _prompted(self, stamp: int, result: FrameResult) -> tuple[Any, ...]:
        """Follow objects in a frame that was just processed, and answer the prompts on it."""
        masks = self._pipeline.prompts.follow() or result.prompted
        found = {mask.object_id: mask for mask in masks}
        while self._prompts and self._prompts[0].stamp <= stamp:
            due = self._prompts.pop(0)
            try:
                answer = self._pipeline.prompts.prompt(
                    due.prompt, result.stamp, due.name, track=True
                )
            except (PromptError, EngineError, FloatingPointError) as error:
                raise RecordingError(f"{due.place}: {error}") from error
            found[answer.object_id] = answer
        return tuple(found.values())

    def _fail(self, reason: str) -> None:
        reasons = self.counts.failed
        reason = " ".join(reason.split())
        reasons[reason if reason in reasons or len(reasons) < MAX_REASONS else "others"] += 1


def nanoseconds(stamp: Any) -> int:
    """Return a Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
