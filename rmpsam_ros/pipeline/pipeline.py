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
    PromptedMask,
    PromptedObject,
    PromptEngine,
    Prompter,
    SharedDecoder,
    pack_queries,
)
from rmpsam_ros.prompting.steps import Steps, finished
from rmpsam_ros.runtime import Engine, EngineError, EngineInfo, FrameOutput, ObjectOutput
from rmpsam_ros.runtime.engine import ChannelOrder
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import semantic_map
from rmpsam_ros.segmentation.preprocess import Geometry
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
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
    geometry: Geometry
    followed: FollowPass
    preprocess: float
    inference: float = 0.0


class Pipeline:
    """Pre-processing, network, fusion, tracks and prompts of one camera.

    Threads: `process` is called from one thread, the network's. `prompt`, `segment_everything`
    and `follow` are called from one thread, too: the same one, or, if `prompts_run_beside`,
    another, so that an image encoder of the prompt engine's own does not hold up the frames.
    `remove_prompt`, `list_prompts`, `prompted_at`, `clear_prompts`, `limit_prompts` and everything
    that takes a `FrameResult` may be called from any thread, `reset` and `close` from the
    network's, `close` while no prompt is being answered.
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
        self._prompter = Prompter(prompt_engine or SharedDecoder(engine), config.prompting)
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

    @property
    def prompts_run_beside(self) -> bool:
        """Whether `prompt`, `segment_everything` and `follow` may run in a second thread."""
        return self._prompter.engine.runs_beside

    @property
    def prompt_engine_info(self) -> str:
        """Prompt engine, its weights and what executes it, for people."""
        return self._prompter.engine.info

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
        """Do what comes before the network; arguments and errors as in `process`.

        `finish` follows, or nothing at all, before the next frame of this pipeline begins.
        """
        started = time.perf_counter()
        self._advance(stamp)
        prepared, geometry = self._engine.prepare(image, self._limits, channel_order)
        followed = self._prompter.begin_pass(stamp, geometry)
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
            [one.prepared for one in frames], [one.followed.boxes for one in frames]
        )
        seconds = time.perf_counter() - started
        for one in frames:
            one.inference = seconds
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
            features=None if self.prompts_run_beside else output.features,
            queries=pack_queries(objects, self._tracker.embeddings),
            tracks={one: mask for one, mask in track_masks.items() if one in confirmed},
        )
        prompted = self._prompter.keep(kept, frame.followed, objects, output.prompts)
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

    def prompt(
        self,
        prompt: ObjectPrompt,
        stamp: float | None = None,
        object_id: str = "",
        track: bool = False,
    ) -> PromptedMask:
        """Give the mask of one object on a kept frame, and follow the object if wanted.

        Args:
            stamp: of the frame, exactly as it was given to `process`; None: the newest one.
            object_id: empty: one is made. A known one is refined: its earlier clicks on the same
                frame count, too; on another frame its place there does instead (the rules are in
                `prompting.refinement`).
            track: look for the object in every later frame; see `FrameResult.prompted`. An object
                that is followed already stays so: `remove_prompt` ends it.

        Raises:
            NoFrameError: no frame has been processed yet.
            FrameNotKeptError: there is no frame of this stamp any more; the message says which
                frames there are.
            PromptError: the prompt is not acceptable; the message says why.
            TooManyPromptsError: as many objects as allowed are followed already.
            EngineError, FloatingPointError: the engine failed, or its answer is not finite.

        When it raises, nothing has changed.
        """
        return self._prompter.prompt(prompt, stamp, object_id, track)

    def follow(self) -> tuple[PromptedMask, ...] | None:
        """Look for all followed objects in the newest frame, with an engine of its own encoder.

        To be called again and again, after every frame or request, where `prompts_run_beside`;
        it does something at most ``PromptingConfig.prompt_rate`` times a second.

        Returns:
            The newest mask of every followed object, all of the newest frame unless one was
            prompted meanwhile; None if nothing was due.
        """
        return self._prompter.follow()

    def segment_everything(
        self, stamp: float | None = None, points_per_side: int = 0
    ) -> tuple[PromptedMask, ...]:
        """Give class-agnostic masks of everything in a kept frame, largest first.

        The prompts are boxes around the network's own object queries, with any prompt engine;
        masks that say the same are given once.

        Args:
            stamp: as in `prompt`.
            points_per_side: 1 to 64: prompt with a square grid of points instead, as SAM does.

        Raises:
            NoFrameError, FrameNotKeptError: as in `prompt`.
            PromptError: points_per_side is out of range.
        """
        return finished(self.everything_steps(stamp, points_per_side))

    def everything_steps(
        self, stamp: float | None = None, points_per_side: int = 0
    ) -> Steps[tuple[PromptedMask, ...]]:
        """Do what `segment_everything` does, in steps between which the thread may do more."""
        return self._prompter.everything_steps(stamp, points_per_side)

    def remove_prompt(self, object_id: str) -> bool:
        """Forget a prompted object; False if it is unknown."""
        return self._prompter.remove(object_id)

    def list_prompts(self) -> tuple[PromptedObject, ...]:
        """Return all prompted objects as they are now, oldest first."""
        return self._prompter.objects()

    def prompted_at(self, x: float, y: float) -> str:
        """Return the id of the followed object whose newest mask has a pixel there; empty: none.

        Of several it is the smallest.
        """
        return self._prompter.at(x, y)

    def limit_prompts(self, max_objects: int) -> None:
        """Limit new followed objects to ``max_objects`` in all; those already followed stay."""
        self._prompter.limit(max_objects)

    def clear_prompts(self) -> int:
        """Forget all prompted objects and return how many there were."""
        return self._prompter.clear()

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
        self._prompter.reset()
        self._clip.clear()
        self._newest_stamp = -np.inf

    def close(self) -> None:
        """Give back what this pipeline holds, with the last one the memory of the engines, too.

        The pipeline is not used afterwards.
        """
        self._prompter.reset()
        self._sharers.discard(self)
        if not self._sharers:
            self._prompter.engine.close()
            self._engine.close()

    def _advance(self, stamp: float) -> None:
        """Forget what belongs to another run of time, as the tracker does."""
        if stamp < self._newest_stamp - self._backward_jump:
            self._prompter.reset()
            self._clip.clear()
            self._newest_stamp = stamp
        self._newest_stamp = max(stamp, self._newest_stamp)
