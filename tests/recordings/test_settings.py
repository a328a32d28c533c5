"""The node's parameters for recordings."""

from pathlib import Path

import pytest
import yaml

from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.settings import config_of, read_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def parameter_file(tmp_path):
    def write(content):
        path = tmp_path / "params.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def section(name, **parameters):
    return {name: {"ros__parameters": parameters}}


def test_defaults_are_the_nodes_and_so_is_its_own_file():
    defaults, unknown = read_settings()
    assert defaults == {
        one.name: one.default for group in NODE_PARAMETERS.values() for one in group
    }
    assert read_settings(ROOT / "config" / "rmpsam.yaml") == (defaults, [])
    assert unknown == []


@pytest.mark.parametrize("name", ["/**", "/*", "rmpsam", "/rmpsam"])
def test_the_section_of_the_node_counts(parameter_file, name):
    path = parameter_file(section(name, score_threshold=0.7) | section("other", labels="x"))
    values, _ = read_settings(path, ["overlap_threshold:=0.25", "labels:=1.yaml"])
    assert (values["score_threshold"], values["overlap_threshold"]) == (0.7, 0.25)
    assert values["labels"] == "1.yaml"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "cannot be read"),
        ("", "no section for the node"),
        ([1, 2], "no section for the node"),
        ({"/**": {"score_threshold": 0.3}}, "no section for the node"),
        (section("camera", score_threshold=0.3), "no section for the node"),
        (section("/**", score_threshold=2.0), "expected 0 to 1"),
        (section("/**", score_threshold="high"), "expected double"),
        (section("/**", long_side=96.0), "expected integer"),
        ("/**: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_files_that_are_refused(parameter_file, content, words):
    with pytest.raises(RecordingError, match=words):
        read_settings(parameter_file(content))


def test_single_values_that_are_refused(tmp_path):
    for text in ("score_threshold", ":=3", "score_threshold:=[", "long_side:=true"):
        with pytest.raises(RecordingError):
            read_settings(None, [text])
    with pytest.raises(RecordingError, match="cannot be read"):
        read_settings(tmp_path / "nothing.yaml")


def test_unknown_names_are_said(parameter_file):
    _, unknown = read_settings(parameter_file(section("/**", labelz="x")), ["zzz:=1"])
    assert unknown == [
        "parameter 'labelz' does not exist and is ignored; did you mean 'labels'?",
        "parameter 'zzz' does not exist and is ignored",
    ]


def test_the_pipeline_gets_the_values():
    values, _ = read_settings(None, ["long_side:=320", "short_side:=200", "confirm_hits:=7"])
    config = config_of(values, with_prompts=True)
    assert (config.long_side, config.tracker.confirm_hits) == (320, 7)
    assert config.prompting.engine == "mobile_sam"
    assert config_of(values, with_prompts=False).prompting.engine == "rmpsam"
    with pytest.raises(RecordingError, match="at most long_side"):
        config_of(values | {"short_side": 400}, with_prompts=False)
