"""Typed settings say what the tables say, and the configurations have the tables' defaults."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import get_type_hints

import pytest

from rmpsam_ros.node.parameters.camera_source_table import CAMERA_SOURCE_PARAMETERS
from rmpsam_ros.node.parameters.configuration import fusion_config, pipeline_config
from rmpsam_ros.node.parameters.settings import CameraSourceSettings, Settings, defaults
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
from rmpsam_ros.pipeline import PipelineConfig
from rmpsam_ros.segmentation.labels import load_label_set

PAIRS = [(Settings, NODE_PARAMETERS), (CameraSourceSettings, CAMERA_SOURCE_PARAMETERS)]


@pytest.mark.parametrize(("settings", "table"), PAIRS, ids=["node", "source"])
def test_every_parameter_is_a_field_of_its_type_in_the_order_of_the_table(settings, table):
    types = get_type_hints(settings)
    found = [(field.name, types[field.name]) for field in fields(settings)]
    assert found == [(name, type(value)) for name, value in defaults(table).items()]


def test_settings_cannot_be_written_to():
    with pytest.raises(FrozenInstanceError):
        Settings(**defaults()).score_threshold = 0.9


def test_the_node_runs_the_pipeline_with_its_own_defaults():
    """But for the weights and the prompt engine in the package, which the node takes itself."""
    made, own = pipeline_config(Settings(**defaults())), PipelineConfig()
    assert made.network == replace(own.network, weights="demo")
    assert made.prompting == replace(own.prompting, engine="mobile_sam")
    assert made.tracker == own.tracker
    assert (made.long_side, made.short_side) == (own.long_side, own.short_side)
    coco = load_label_set("coco_panoptic")
    assert fusion_config(Settings(**defaults()), coco) == own.fusion
