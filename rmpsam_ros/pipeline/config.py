"""Configuration of a pipeline, and the error for one that cannot be built."""

from dataclasses import dataclass, field

from rmpsam_ros import defaults
from rmpsam_ros.prompting import PromptingConfig
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.tidying import TidyConfig
from rmpsam_ros.tracking import TrackerConfig


def default_tidying() -> TidyConfig:
    """Return what is tidied by default; the official post-processing does none of it."""
    return TidyConfig(
        any_thing=defaults.ANY_THING,
        duplicate_iou=defaults.DUPLICATE_IOU,
        small_first=defaults.SMALL_FIRST,
        thing_bonus=defaults.THING_BONUS,
        min_piece=defaults.MIN_PIECE,
        min_area=defaults.MIN_AREA,
        max_speck=defaults.MAX_SPECK,
        max_hole=defaults.MAX_HOLE,
    )


class PipelineError(RuntimeError):
    """The pipeline cannot be made from its configuration; the message is one line."""


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that the pipeline can be told.

    Attributes:
        network: which network runs, with what weights, on which engine and device. With
            ``clip_frames`` above 1, objects are decoded from the tube of the newest so many
            frames, of which every frame is the last once (see `tracking.clip_window`).
        labels: name of a packaged label set, or path of a label file; empty: the label set in the
            weights, or coco_panoptic.
        long_side, short_side: limits of the resized image in pixels; its ratio is kept.
        fusion: thresholds and class filter of the panoptic fusion; the defaults are lower than
            the official ones, for a model that is less sure.
        tracker: thresholds and times of the tracks.
        prompting: what answers prompts, on which frames, and how objects are followed.
    """

    network: EngineConfig = field(default_factory=EngineConfig)
    labels: str = ""
    long_side: int = defaults.LONG_SIDE
    short_side: int = defaults.SHORT_SIDE
    fusion: FusionConfig = field(
        default_factory=lambda: FusionConfig(
            defaults.SCORE_THRESHOLD, defaults.OVERLAP_THRESHOLD, tidy=default_tidying()
        )
    )
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    prompting: PromptingConfig = field(default_factory=PromptingConfig)
