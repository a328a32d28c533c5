"""From parameter values to the configuration of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmpsam_ros.node.parameters.table import ParameterError
from rmpsam_ros.pipeline import PipelineConfig, PromptingConfig
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.tracking import TrackerConfig

LIVE_NAMES = ("score_threshold", "overlap_threshold", "classes")


def pipeline_config(values: Mapping[str, Any]) -> PipelineConfig:
    """Return the configuration; the class filter is set later, when the label set is known."""
    if values["short_side"] > values["long_side"]:
        raise ParameterError(
            f"short_side is {values['short_side']}; expected at most long_side, "
            f"{values['long_side']}"
        )
    return PipelineConfig(
        network=EngineConfig(
            model=values["model"],
            weights=values["weights"],
            text_embeddings=values["text_embeddings"],
            engine=values["engine"],
            device=values["device"],
            num_threads=values["num_threads"],
            clip_frames=values["clip_frames"],
        ),
        labels=values["labels"],
        long_side=values["long_side"],
        short_side=values["short_side"],
        tracker=TrackerConfig(
            confirm_hits=values["confirm_hits"],
            memory_seconds=values["memory_seconds"],
            backward_jump=values["backward_jump"],
        ),
        prompting=PromptingConfig(
            engine=values["prompt_engine"],
            weights=values["prompt_weights"],
            keep_seconds=values["keep_seconds"],
            keep_megabytes=values["keep_megabytes"],
            max_objects=values["max_prompts"],
            prompt_rate=values["prompt_rate"],
        ),
    )


def fusion_config(values: Mapping[str, Any], labels: LabelSet) -> FusionConfig:
    """Return the thresholds and the class filter that may change while the node runs.

    Raises:
        ParameterError: a class name is not in the label set.
    """
    return FusionConfig(
        score_threshold=values["score_threshold"],
        overlap_threshold=values["overlap_threshold"],
        class_ids=class_ids(values["classes"], labels),
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
    known = {one.name: one.class_id for one in labels.labels}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ParameterError(
            f"{parameter} names '{unknown[0]}', which is not in label set {labels.name}; "
            "~/label_info lists the names"
        )
    return frozenset(known[name] for name in wanted)
