"""From parameter values to the configuration of the pipeline."""

from __future__ import annotations

from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.parameters.settings import Settings
from rmpsam_ros.pipeline import PipelineConfig, PromptingConfig
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.tidying import TidyConfig
from rmpsam_ros.tracking import TrackerConfig


def pipeline_config(settings: Settings) -> PipelineConfig:
    """Return the configuration; the class filter is set later, when the label set is known."""
    if settings.short_side > settings.long_side:
        raise ParameterError(
            f"short_side is {settings.short_side}; expected at most long_side, "
            f"{settings.long_side}"
        )
    return PipelineConfig(
        network=EngineConfig(
            model=settings.model,
            weights=settings.weights,
            text_embeddings=settings.text_embeddings,
            engine=settings.engine,
            device=settings.device,
            num_threads=settings.num_threads,
            clip_frames=settings.clip_frames,
        ),
        labels=settings.labels,
        long_side=settings.long_side,
        short_side=settings.short_side,
        tracker=TrackerConfig(
            confirm_hits=settings.confirm_hits,
            memory_seconds=settings.memory_seconds,
            backward_jump=settings.backward_jump,
        ),
        prompting=PromptingConfig(
            engine=settings.prompt_engine,
            weights=settings.prompt_weights,
            keep_seconds=settings.keep_seconds,
            keep_megabytes=settings.keep_megabytes,
            max_objects=settings.max_prompts,
            prompt_rate=settings.prompt_rate,
        ),
    )


def fusion_config(settings: Settings, labels: LabelSet) -> FusionConfig:
    """Return the thresholds and the class filter that may change while the node runs.

    Raises:
        ParameterError: a class name is not in the label set.
    """
    return FusionConfig(
        score_threshold=settings.score_threshold,
        overlap_threshold=settings.overlap_threshold,
        class_ids=class_ids(settings.classes, labels),
        tidy=TidyConfig(
            any_thing=settings.any_thing,
            duplicate_iou=settings.duplicate_iou,
            small_first=settings.small_first,
            thing_bonus=settings.thing_bonus,
            min_piece=settings.min_piece,
            min_area=settings.min_area,
            max_speck=settings.max_speck,
            max_hole=settings.max_hole,
        ),
    )


def class_ids(names: str, labels: LabelSet, parameter: str = "classes") -> frozenset[int] | None:
    """Return the ids of comma-separated class names, None for no names at all.

    parameter: which one holds the names.

    Raises:
        ParameterError: a name is not in the label set.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        return None
    known = {label.name: label.class_id for label in labels.labels}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ParameterError(
            f"{parameter} names '{unknown[0]}', which is not in label set {labels.name}; "
            "~/label_info lists the names"
        )
    return frozenset(known[name] for name in wanted)
