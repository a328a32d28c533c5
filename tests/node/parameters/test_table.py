"""The parameter tables: checks of values, and the files that are written from them."""

import math
from pathlib import Path

import pytest
import yaml

from rmpsam_ros.node.parameters.camera_source_table import CAMERA_SOURCE_PARAMETERS
from rmpsam_ros.node.parameters.docs import configuration_yaml, parameters_markdown
from rmpsam_ros.node.parameters.parameter import Change, Parameter, ParameterError
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS

ROOT = Path(__file__).resolve().parents[3]
NODE = [one for group in NODE_PARAMETERS.values() for one in group]
SOURCE = [one for group in CAMERA_SOURCE_PARAMETERS.values() for one in group]
EXAMPLES = {
    "number": Parameter("number", 3, "", range=(1, 5)),
    "share": Parameter("share", 0.5, "", range=(0.0, 1.0)),
    "text": Parameter("text", "raw", "", choices=("raw", "compressed")),
    "free text": Parameter("free", "", ""),
    "switch": Parameter("switch", True, ""),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 1),
        ("number", 5),
        ("share", 0.0),
        ("share", 1.0),
        ("share", 1),
        ("text", "compressed"),
        ("free text", "anything"),
        ("switch", False),
    ],
)
def test_accepted_values(name, value):
    used = EXAMPLES[name].check(value)
    assert used == value and type(used) is type(EXAMPLES[name].default)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("number", 0, "number is 0; expected 1 to 5"),
        ("number", 6, "number is 6; expected 1 to 5"),
        ("number", 2.0, "expected integer"),
        ("number", True, "expected integer"),
        ("number", "3", "expected integer"),
        ("share", 1.01, "share is 1.01; expected 0 to 1"),
        ("share", math.nan, "share is nan; expected 0 to 1"),
        ("share", math.inf, "share is inf"),
        ("share", True, "expected double, like 0.5"),
        ("share", 2, "share is 2.0; expected 0 to 1"),
        ("text", "Raw", "text is 'Raw'; expected one of raw, compressed"),
        ("text", None, "expected string"),
        ("switch", 1, "expected bool"),
    ],
)
def test_refused_values_with_their_reason(name, value, reason):
    with pytest.raises(ParameterError, match=reason):
        EXAMPLES[name].check(value)


@pytest.mark.parametrize("parameter", NODE + SOURCE, ids=lambda one: one.name)
def test_every_default_is_accepted_and_every_parameter_is_described(parameter):
    parameter.check(parameter.default)
    assert parameter.description.endswith(".")
    numeric = type(parameter.default) in (int, float)
    assert numeric == (parameter.range is not None)


@pytest.mark.parametrize("table", [NODE, SOURCE], ids=["node", "source"])
def test_names_are_unique(table):
    names = [one.name for one in table]
    assert len(set(names)) == len(names)


def test_configuration_file_is_the_one_written_from_the_table():
    text = (ROOT / "config" / "rmpsam.yaml").read_text()
    assert text == configuration_yaml(), "run: python -m rmpsam_ros.node.parameters.docs"


def test_configuration_file_holds_every_default_in_its_type():
    content = yaml.safe_load((ROOT / "config" / "rmpsam.yaml").read_text())
    values = content["/**"]["ros__parameters"]
    assert values == {one.name: one.default for one in NODE}
    assert {name: type(value) for name, value in values.items()} == {
        one.name: type(one.default) for one in NODE
    }


def test_documentation_is_the_one_written_from_the_tables():
    text = (ROOT / "docs" / "parameters.md").read_text()
    assert text == parameters_markdown(), "run: python -m rmpsam_ros.node.parameters.docs"


def test_documentation_names_every_parameter_and_when_it_changes():
    rows = parameters_markdown().splitlines()
    for one in NODE + SOURCE:
        assert sum(row.startswith(f"| `{one.name}` |") for row in rows) == 1
        assert any(row.startswith(f"| `{one.name}` |") and one.change.value in row for row in rows)


def test_thresholds_and_overlay_rate_change_while_the_node_runs():
    live = {one.name for one in NODE if one.change is Change.LIVE}
    assert {"score_threshold", "overlap_threshold", "classes", "overlay_rate"} <= live
    assert {"any_thing", "duplicate_iou", "small_first", "thing_bonus"} <= live
    assert {"min_piece", "min_area", "max_speck", "max_hole"} <= live
    assert {"max_prompts", "prompt_requests_rate", "prompt_timeout"} <= live
    assert {"input_timeout", "latency_warning"} <= live
