"""From parameter values to the configuration of the pipeline, without ROS."""

from dataclasses import fields, replace

import pytest

from rmpsam_ros.node.parameters.configuration import (
    class_ids,
    fusion_config,
    pipeline_config,
)
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.parameters.settings import Settings, defaults
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.tidying import TidyConfig

DEFAULTS = Settings(**defaults())
LABELS = load_label_set("coco_panoptic")


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("model", "rmpsam_r50", "network.model"),
        ("weights", "x.safetensors", "network.weights"),
        ("text_embeddings", "x.npy", "network.text_embeddings"),
        ("engine", "torch", "network.engine"),
        ("device", "cuda:1", "network.device"),
        ("num_threads", 3, "network.num_threads"),
        ("clip_frames", 5, "network.clip_frames"),
        ("labels", "youtube_vis_2019", "labels"),
        ("long_side", 1280, "long_side"),
        ("short_side", 256, "short_side"),
        ("confirm_hits", 7, "tracker.confirm_hits"),
        ("memory_seconds", 3.0, "tracker.memory_seconds"),
        ("backward_jump", 0.1, "tracker.backward_jump"),
        ("prompt_engine", "rmpsam", "prompting.engine"),
        ("prompt_weights", "y.pt", "prompting.weights"),
        ("keep_seconds", 9.0, "prompting.keep_seconds"),
        ("keep_megabytes", 99, "prompting.keep_megabytes"),
        ("max_prompts", 4, "prompting.max_objects"),
        ("prompt_rate", 1.5, "prompting.prompt_rate"),
    ],
)
def test_every_parameter_has_its_place(name, value, place):
    def at(config):
        for part in place.split("."):
            config = getattr(config, part)
        return config

    assert at(pipeline_config(DEFAULTS)) == getattr(DEFAULTS, name) != value
    assert at(pipeline_config(replace(DEFAULTS, **{name: value}))) == value


def test_single_frames_are_the_default():
    assert pipeline_config(DEFAULTS).network.clip_frames == 1


def test_sides_that_are_exchanged_are_refused():
    with pytest.raises(ParameterError, match="short_side is 641; expected at most long_side, 640"):
        pipeline_config(replace(DEFAULTS, short_side=641))


def test_the_official_post_processing_is_what_zeros_give():
    names = [field.name for field in fields(TidyConfig) if field.name != "any_thing"]
    zeros = dict.fromkeys(names, 0.0)
    official = {"score_threshold": 0.8, "overlap_threshold": 0.8, "any_thing": False}
    assert fusion_config(replace(DEFAULTS, **official, **zeros), LABELS) == FusionConfig()


def test_what_is_tidied():
    values = {"any_thing": True, "duplicate_iou": 0.1, "small_first": 0.7, "thing_bonus": 0.2}
    values |= {"min_piece": 0.3, "min_area": 0.4, "max_speck": 0.5, "max_hole": 0.6}
    assert fusion_config(replace(DEFAULTS, **values), LABELS).tidy == TidyConfig(**values)


def test_thresholds_and_classes():
    settings = replace(
        DEFAULTS, score_threshold=0.3, overlap_threshold=0.4, classes=" person, car,"
    )
    config = fusion_config(settings, LABELS)
    assert (config.score_threshold, config.overlap_threshold) == (0.3, 0.4)
    assert {LABELS.labels[k].name for k in config.class_ids} == {"person", "car"}
    assert class_ids("", LABELS) is None
    with pytest.raises(ParameterError, match="names 'unicorn', which is not in label set"):
        fusion_config(replace(settings, classes="person,unicorn"), LABELS)
