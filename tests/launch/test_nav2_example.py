"""The example for Nav2 names topics of the node and classes of its weights."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.runtime.network import label_set_of

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "nav2"


@pytest.fixture(scope="module")
def source():
    """The observation source of the layer."""
    text = (EXAMPLE / "semantic_layer.yaml").read_text()
    layer = yaml.safe_load(text)["costmap"]["costmap"]["ros__parameters"]["semantic_layer"]
    return layer[layer["observation_sources"]]


def test_every_class_has_a_cost_but_the_sky(source):
    listed = [name for kind in source["class_types"] for name in source[kind]["classes"]]
    labels = label_set_of(EngineConfig(weights="demo"), "").labels
    assert sorted([*listed, "sky"]) == sorted(label.name for label in labels)


def test_costs_are_costs(source):
    for kind in source["class_types"]:
        costs = source[kind]
        assert 0 <= costs["base_cost"] <= costs["max_cost"] <= 254
        assert 0 <= costs["mark_confidence"] <= 255


def test_topics_are_those_of_the_node(source):
    topics = {value for name, value in source.items() if name.endswith("_topic")}
    policy = (EXAMPLE.parents[1] / "config" / "sros2_policy.xml").read_text()
    assert len(topics) == 4
    assert not [topic for topic in topics if f"<topic>{topic}</topic>" not in policy]


def test_arguments_of_the_camera_are_its_own():
    launch = ast.parse((EXAMPLE / "semantic_layer.launch.py").read_text())
    declared = [
        node.args[0].value
        for node in ast.walk(launch)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument"
    ]
    folder = EXAMPLE.parents[1]
    known = (folder / "launch" / "camera.launch.py").read_text()
    known += (folder / "rmpsam_ros" / "launching.py").read_text()
    assert declared
    assert not [name for name in declared if f'"{name}"' not in known]


def test_what_is_not_installed_is_said():
    launch = pytest.importorskip("launch", reason="launch is not installed")
    if not hasattr(launch, "LaunchService"):  # a folder of that name
        pytest.skip("launch is not installed")
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(
        str(EXAMPLE / "semantic_layer.launch.py")
    )
    service = launch.LaunchService(noninteractive=True)
    service.include_launch_description(description)
    assert service.run() == 1
