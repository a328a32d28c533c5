"""Pre-processing, network, fusion, tracks and prompts of one camera."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.pipeline import result_images
from rmpsam_ros.pipeline.config import PipelineConfig
from rmpsam_ros.pipeline.results import FrameResult, StageTimes
from rmpsam_ros.prompting import (
    FollowPass,
    KeptFrame,
    PromptEngine,
    Prompter,
    SharedDecoder,
    pack_queries,
)
from rmpsam_ros.runtime import Engine, EngineError, EngineInfo, FrameOutput, ObjectOutput
from rmpsam_ros.runtime.engine import ChannelOrder
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import semantic_map
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.run_length import encode_segments
from rmpsam_ros.tracking import ClipWindow, Detection, QueryTracker, TrackState


@dataclass(slots=True)
class PendingFrame:
    """A frame between `Pipeline.begin` and `Pipeline.finish`.

    Attributes:
        stamp, image, channel_order: as they were given.
        prepared, geometry: what `Engine.prepare` made of the image.
        followed: prompts that are answered in the same pass.
        preprocess, inference: seconds spent on it; of several frames that go through the network
            together each one counts the time of all, for which it waited.
    """

    stamp: float
    image: NDArray[np.uint8]
    channel_order: ChannelOrder
    prepared: Any
    geometry: Letterbox
    followed: FollowPass
    preprocess: float
    inference: float = 0.0


class Pipeline:
    """Pre-processing, network, fusion, tracks and prompts of one camera.

    Threads: `process` is called from one thread, the network's; `Prompter` says which thread calls
    what of `prompts`. Everything that takes a `FrameResult` may be called from any thread, `reset`
    and `close` from the network's, `close` while no prompt is being answered.

    Attributes:
        label_set: classes of the network.
        engine_info: which engine executes the network, and where.
        fusion: thresholds of the panoptic fusion; another one counts from the next frame on.
        prompts: answers prompts on the frames of the last seconds, and follows prompted objects.
    """

    def __init__(
        self,
        engine: Engine,
        label_set: LabelSet,
        config: PipelineConfig,
        prompt_engine: PromptEngine | None = None,
    ) -> None:
        """prompt_engine: None: the decoder of the network itself."""
        self.label_set = label_set
        self.engine_info: EngineInfo = engine.info
        self.fusion = config.fusion
        self._limits = (config.long_side, config.short_side)
        self._backward_jump = config.tracker.backward_jump
        self._config = config
        self._engine = engine
        self._prompt_engine = prompt_engine
        self._sharers = {self}  # the pipelines that use the engines
        self._tracker = QueryTracker(config.tracker)
        self._clip_frames = config.network.clip_frames
        self._clip = ClipWindow[Any](self._clip_frames)
        self.prompts = Prompter(prompt_engine or SharedDecoder(engine), config.prompting)
        self._newest_stamp = -np.inf

    def for_another_camera(self) -> "Pipeline":
        """Return a pipeline on the same engines with tracks, prompts and kept frames of its own.

        What is said about threads holds for all pipelines of the same engines together: it is the
        same two threads for all of them.
        """
        other = Pipeline(self._engine, self.label_set, self._config, self._prompt_engine)
        other.fusion = self.fusion
        other._sharers = self._sharers
        self._sharers.add(other)
        return other

    @property
    def engine(self) -> Engine:
        """What executes the network, for whole-video procedures; in the network's thread."""
        return self._engine

    def process(
        self, image: NDArray[np.uint8], stamp: float, channel_order: ChannelOrder = "rgb"
    ) -> FrameResult:
        """Segment one frame, carry the tracks on, and keep the frame for prompts.

        Args:
            image: (H, W, 3) uint8 of any strides. It is kept for prompts as it is, without a
                copy: do not write to it afterwards.
            stamp: time of the frame in seconds. One that goes back by more than
                ``TrackerConfig.backward_jump`` ends all tracks, prompted objects and kept frames;
                one that is equal to the last, or goes back by less, counts as the same moment.
            channel_order: rgb or bgr.

        Raises:
            ValueError: the image has another shape or type, or the stamp is not finite.
            EngineError: the network failed on this frame; the next one may go well.
        """
        pending = self.begin(image, stamp, channel_order)
        (output,) = self.infer([pending])
        if isinstance(output, EngineError):
            raise output
        return self.finish(pending, output)

    def begin(
        self, image: NDArray[np.uint8], stamp: float, channel_order: ChannelOrder = "rgb"
    ) -> PendingFrame:
        """Prepare an image (H, W, 3) for the network; arguments and errors as in `process`.

        `finish` follows, or nothing at all, before the next frame of this pipeline begins.
        """
        started = time.perf_counter()
        self._advance(stamp)
        prepared, geometry = self._engine.prepare(image, self._limits, channel_order)
        followed = self.prompts.begin_pass(stamp, geometry)
        seconds = time.perf_counter() - started
        return PendingFrame(stamp, image, channel_order, prepared, geometry, followed, seconds)

    def batches_well(self, frame: PendingFrame) -> bool:
        """Tell whether the network is faster with several such frames than one after the other."""
        return self._engine.largest_group(frame.prepared) > 1

    def infer(self, frames: Sequence[PendingFrame]) -> list[FrameOutput | EngineError]:
        """Run the network on frames of this pipeline and of others `for_another_camera`.

        Returns:
            for every frame what `finish` takes, or why the network failed on it.
        """
        started = time.perf_counter()
        outputs = self._engine.run_batch(
            [frame.prepared for frame in frames], [frame.followed.boxes for frame in frames]
        )
        seconds = time.perf_counter() - started
        for frame in frames:
            frame.inference = seconds
        return outputs

    def finish(self, frame: PendingFrame, output: FrameOutput) -> FrameResult:
        """Do what comes behind the network; errors as in `process`."""
        objects = self._objects(frame, output)
        started = time.perf_counter()
        panoptic = self._engine.fuse(objects, frame.geometry, self.label_set, self.fusion)
        things = [segment for segment in panoptic.segments if segment.is_thing]
        detections = [
            Detection(thing.id, thing.query, thing.class_id, thing.score, thing.box)
            for thing in things
        ]
        tracks = self._tracker.update(frame.stamp, objects.queries, detections)
        track_ids = {t.segment_id: t.id for t in tracks if t.state is not TrackState.LOST}
        masks = encode_segments(panoptic.runs, panoptic.size, things)
        track_masks = {
            track_ids[thing.id]: mask for thing, mask in zip(things, masks, strict=True)
        }
        run_ids, run_lengths = panoptic.runs
        confirmed = {track.id for track in tracks if track.state is TrackState.CONFIRMED}
        kept = KeptFrame(
            stamp=frame.stamp,
            image=frame.image,
            channel_order=frame.channel_order,
            geometry=frame.geometry,
            features=None if self.prompts.engine.runs_beside else output.features,
            queries=pack_queries(objects, self._tracker.embeddings),
            tracks={track: mask for track, mask in track_masks.items() if track in confirmed},
        )
        prompted = self.prompts.keep(kept, frame.followed, objects, output.prompts)
        height, width = frame.geometry.image_size
        return FrameResult(
            stamp=frame.stamp,
            height=height,
            width=width,
            panoptic=panoptic,
            run_ids=run_ids,
            run_lengths=run_lengths,
            tracks=tracks,
            track_masks=track_masks,
            track_ids=track_ids,
            times=StageTimes(frame.preprocess, frame.inference, time.perf_counter() - started),
            prompted=prompted,
        )

    def _objects(self, frame: PendingFrame, output: FrameOutput) -> ObjectOutput:
        """Return the objects of the frame: its own, or in clips those of the newest tube in it."""
        if self._clip_frames == 1:
            return output.objects
        clip = self._clip.add(frame.stamp, frame.geometry.padded_size, output.features)
        if len(clip) == 1:
            return output.objects
        started = time.perf_counter()
        objects = self._engine.decode_tube(clip)[-1]
        frame.inference += time.perf_counter() - started
        return objects

    def semantic_map(
        self, result: FrameResult, out: NDArray[np.uint8 | np.uint16] | None = None
    ) -> NDArray[np.uint8 | np.uint16]:
        """Class of every pixel, (H, W), with the label set's value for unlabelled ones.

        Args:
            out: where to write it, of the label set's ``semantic_dtype``; None: a new array.
        """
        return semantic_map(result.panoptic, self.label_set, out)

    def instance_map(
        self, result: FrameResult, out: NDArray[np.uint16] | None = None
    ) -> NDArray[np.uint16]:
        """Instance of every pixel, (H, W): 0 none, else the track id brought into 1 to 65534.

        Args:
            out: as in `semantic_map`.
        """
        return result_images.track_map(result, out)

    def overlay(self, image: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
        """Draw the result over its RGB image, (H, W, 3) uint8, and return a new one.

        Prompted masks lie on top; one of an earlier frame is drawn as a contour only.
        """
        return result_images.overlay(image, result, self.label_set)

    def warm_up(self) -> None:
        """Run network and fusion once on a grey image: the first frame is then no slow one.

        Raises:
            EngineError: the network cannot run, or cannot decode clips that were asked for.
        """
        long_side, short_side = self._limits
        grey = np.full((short_side, long_side, 3), 128, np.uint8)
        prepared, geometry = self._engine.prepare(grey, self._limits, "rgb")
        output = self._engine.run(prepared)
        self._engine.fuse(output.objects, geometry, self.label_set, self.fusion)
        if self._clip_frames > 1:
            self._engine.decode_tube([output.features] * self._clip_frames)

    def reset(self) -> None:
        """Forget tracks, prompted objects and kept frames; ids are still never used again."""
        self._tracker.reset()
        self.prompts.reset()
        self._clip.clear()
        self._newest_stamp = -np.inf

    def close(self) -> None:
        """Give back what this pipeline holds, with the last one the memory of the engines, too.

        The pipeline is not used afterwards.
        """
        self.prompts.reset()
        self._sharers.discard(self)
        if not self._sharers:
            self.prompts.engine.close()
            self._engine.close()

    def _advance(self, stamp: float) -> None:
        """Forget what belongs to another run of time, as the tracker does."""
        if stamp < self._newest_stamp - self._backward_jump:
            self.prompts.reset()
            self._clip.clear()
            self._newest_stamp = stamp
        self._newest_stamp = max(stamp, self._newest_stamp)
