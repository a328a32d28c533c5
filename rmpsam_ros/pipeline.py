"""A frame in, a result out: the whole product without ROS."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.runtime import Engine, EngineError, EngineInfo, ModelConfig, load_engine
from rmpsam_ros.segmentation.labels import LabelSet, load_label_set
from rmpsam_ros.segmentation.overlay import draw_overlay
from rmpsam_ros.segmentation.panoptic import (
    FusionConfig,
    PanopticResult,
    fuse_panoptic,
    instance_map,
    semantic_map,
)
from rmpsam_ros.segmentation.preprocess import Geometry, preprocess
from rmpsam_ros.segmentation.prompts import (
    ObjectPrompt,
    combine_prompt_masks,
    prompt_boxes,
    validate_prompt,
)
from rmpsam_ros.segmentation.run_length import (
    RunLengthMask,
    encode_id_map,
    encode_mask,
    encode_segments,
)
from rmpsam_ros.tracking import Detection, QueryTracker, Track, TrackerConfig, TrackState

# 0 means "none" and 65535 "unlabelled" in a 16 bit instance image; the rest is for track ids.
INSTANCE_VALUES = 65534


class PipelineError(RuntimeError):
    """The pipeline cannot be made from its configuration; the message is one line."""


class NoFrameError(RuntimeError):
    """A prompt came before any frame was processed."""


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that the pipeline can be told.

    Attributes:
        network: which network runs, with what weights, on which engine and device.
        labels: name of a packaged label set, or path of a label file.
        long_side, short_side: limits of the resized image in pixels; its ratio is kept.
        fusion: thresholds and class filter of the panoptic fusion.
        tracker: thresholds and times of the tracks.
    """

    network: ModelConfig = field(default_factory=ModelConfig)
    labels: str = "coco_panoptic"
    long_side: int = 640
    short_side: int = 480
    fusion: FusionConfig = field(default_factory=FusionConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds that the stages of one frame took."""

    preprocess: float
    inference: float
    postprocess: float


@dataclass(frozen=True)
class FrameResult:
    """What one frame gave.

    Attributes:
        stamp: seconds, as given to `Pipeline.process`.
        height, width: of the image, pixels.
        panoptic: id map and segments at image size.
        run_ids, run_lengths: the id map as run lengths, (R,) uint16 and (R,) uint32.
        tracks: tentative, confirmed and lost tracks.
        track_masks: by track id, for the tracks seen in this frame.
        track_ids: track id by segment id, things only.
    """

    stamp: float
    height: int
    width: int
    panoptic: PanopticResult
    run_ids: NDArray[np.uint16]
    run_lengths: NDArray[np.uint32]
    tracks: tuple[Track, ...]
    track_masks: dict[int, RunLengthMask]
    track_ids: dict[int, int]
    times: StageTimes


@dataclass(frozen=True)
class PromptResult:
    """The mask that a prompt gave, on the frame with this stamp (seconds)."""

    mask: RunLengthMask
    score: float
    stamp: float


@dataclass(frozen=True)
class _KeptFrame:
    stamp: float
    geometry: Geometry
    features: Any


class Pipeline:
    """Pre-processing, network, fusion, tracks and prompts of one camera; for one thread."""

    def __init__(self, engine: Engine, label_set: LabelSet, config: PipelineConfig) -> None:
        self.label_set = label_set
        self.engine_info: EngineInfo = engine.info
        self.fusion = config.fusion
        self._limits = (config.long_side, config.short_side)
        self._engine = engine
        self._tracker = QueryTracker(config.tracker)
        self._newest: _KeptFrame | None = None

    def process(
        self, image: NDArray[np.uint8], stamp: float, channel_order: Literal["rgb", "bgr"] = "rgb"
    ) -> FrameResult:
        """Segment one frame and carry the tracks on.

        Args:
            image: (H, W, 3) uint8.
            stamp: time of the frame in seconds; an earlier one than before resets the tracks.
            channel_order: rgb or bgr.

        Raises:
            ValueError: the image has another shape or type.
            EngineError: the network failed on this frame; the next one may go well.
        """
        started = time.perf_counter()
        tensor, geometry = preprocess(image, self._limits, channel_order)
        preprocessed = time.perf_counter()
        output = self._engine.run(tensor)
        inferred = time.perf_counter()
        objects = output.objects
        panoptic = fuse_panoptic(
            objects.class_logits, objects.mask_logits, geometry, self.label_set, self.fusion
        )
        things = [segment for segment in panoptic.segments if segment.is_thing]
        detections = [
            Detection(thing.id, thing.query, thing.class_id, thing.score, thing.box)
            for thing in things
        ]
        tracks = self._tracker.update(stamp, objects.queries, detections)
        track_ids = {t.segment_id: t.id for t in tracks if t.state is not TrackState.LOST}
        masks = encode_segments(panoptic.id_map, things)
        run_ids, run_lengths = encode_id_map(panoptic.id_map)
        self._newest = _KeptFrame(stamp, geometry, output.features)
        return FrameResult(
            stamp=stamp,
            height=image.shape[0],
            width=image.shape[1],
            panoptic=panoptic,
            run_ids=run_ids,
            run_lengths=run_lengths,
            tracks=tracks,
            track_masks={
                track_ids[thing.id]: mask for thing, mask in zip(things, masks, strict=True)
            },
            track_ids=track_ids,
            times=StageTimes(
                preprocessed - started, inferred - preprocessed, time.perf_counter() - inferred
            ),
        )

    def prompt(self, prompt: ObjectPrompt) -> PromptResult:
        """Give the mask of one object on the newest processed frame, running the decoder only.

        Raises:
            NoFrameError: no frame has been processed yet.
            PromptError: the prompt is not acceptable; the message says why.
        """
        frame = self._newest
        if frame is None:
            raise NoFrameError("no image has been processed yet; send images first")
        validate_prompt(prompt, frame.geometry.image_size)
        boxes, signs = prompt_boxes(prompt, frame.geometry)
        output = self._engine.decode_prompts(frame.features, boxes)
        mask, score = combine_prompt_masks(output.mask_logits, signs, output.iou, frame.geometry)
        return PromptResult(encode_mask(mask), score, frame.stamp)

    def semantic_map(self, result: FrameResult) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Class of every pixel, (H, W), with the label set's value for unlabelled ones."""
        return semantic_map(result.panoptic, self.label_set)

    def instance_map(self, result: FrameResult) -> NDArray[np.uint16]:
        """Instance of every pixel, (H, W): 0 none, else the track id brought into 1 to 65534."""
        values = {
            segment: (track - 1) % INSTANCE_VALUES + 1
            for segment, track in result.track_ids.items()
        }
        return instance_map(result.panoptic, values)

    def overlay(self, image: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
        """Draw the result over its RGB image, (H, W, 3) uint8, and return a new one."""
        return draw_overlay(image, result.panoptic, self.label_set, result.track_ids)

    def warm_up(self) -> None:
        """Run network and fusion once on a grey image, so that the first frame is not a slow one."""
        long_side, short_side = self._limits
        grey = np.full((short_side, long_side, 3), 128, np.uint8)
        tensor, geometry = preprocess(grey, self._limits)
        objects = self._engine.run(tensor).objects
        fuse_panoptic(
            objects.class_logits, objects.mask_logits, geometry, self.label_set, self.fusion
        )

    def reset(self) -> None:
        """Forget all tracks and the newest frame; track ids are still never used again."""
        self._tracker.reset()
        self._newest = None

    def close(self) -> None:
        """Give back the memory of the engine; the pipeline is not used afterwards."""
        self._newest = None
        self._engine.close()


def create_pipeline(
    config: PipelineConfig, progress: Callable[[str], None] = lambda line: None
) -> Pipeline:
    """Load everything and warm up.

    Args:
        progress: called with one line before every step that takes longer than a moment.

    Raises:
        PipelineError: anything of the configuration cannot be used; one line says what and why.
    """
    try:
        label_set = load_label_set(config.labels)
        engine = load_engine(config.network, label_set.num_classes, progress)
        pipeline = Pipeline(engine, label_set, config)
        progress("warming up")
        pipeline.warm_up()
    except (EngineError, ValueError) as error:
        raise PipelineError(str(error)) from error
    return pipeline
