"""Parameters as people write them, name:=value, with every mistake named."""

import pytest

from rmpsam_ros.node.parameters.overrides import parse_overrides, parse_value
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.parameters.settings import defaults
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS

PARAMETERS = {one.name: one for group in NODE_PARAMETERS.values() for one in group}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("   ", {}),
        ("score_threshold:=0.5", {"score_threshold": 0.5}),
        ("score_threshold:=1", {"score_threshold": 1.0}),
        ("long_side:=320 short_side:=240", {"long_side": 320, "short_side": 240}),
        ("use_depth:=true autostart:=False", {"use_depth": True, "autostart": False}),
        ("classes:='person, traffic light'", {"classes": "person, traffic light"}),
        ("labels:=1.yaml weights:=007", {"labels": "1.yaml", "weights": "007"}),
        ("weights:=a:=b classes:=", {"weights": "a:=b", "classes": ""}),
    ],
)
def test_values_have_the_types_of_the_table(text, values):
    found = parse_overrides(text)
    assert found == values
    assert [type(value) for value in found.values()] == [type(v) for v in values.values()]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("score_treshold:=0.5", "'score_treshold' does not exist; did you mean 'score_threshold'"),
        ("zzz:=1", "parameter 'zzz' does not exist$"),
        ("score_threshold=0.5", "no parameter; expected name:=value"),
        (":=5", "no parameter; expected name:=value"),
        ("long_side:=320 long_side:=640", "'long_side' is given twice"),
        ("score_threshold:=much", "score_threshold is 'much'; expected double"),
        ("score_threshold:=1.5", "score_threshold is 1.5; expected 0 to 1"),
        ("score_threshold:=nan", "score_threshold is nan"),
        ("long_side:=3.5", "long_side is '3.5'; expected integer"),
        ("use_depth:=1", "use_depth is '1'; expected bool"),
        ("image_transport:=pigeon", "expected one of raw, compressed"),
        ("classes:='person", "cannot be read: No closing quotation"),
    ],
)
def test_mistakes_are_named(text, reason):
    with pytest.raises(ParameterError, match=reason):
        parse_overrides(text)


@pytest.mark.parametrize(("name", "value"), defaults().items())
def test_every_parameter_of_the_table_can_be_given(name, value):
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert parse_value(PARAMETERS[name], text) == value
