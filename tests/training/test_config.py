"""Configurations of training: entries that do not exist or make no sense, one upon another."""

import pytest
import yaml

from rmpsam_ros.training.config import ConfigError, load_config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"loop": {"stepz": 1}}, "loop: unknown entry 'stepz'"),
        ({"loop": {"steps": "many"}}, r"loop\.steps"),
        ({"optimizer": {"schedule": "linear"}}, "optimizer: schedule is 'linear'"),
        ({"losses": {"costs": {"box": 1}}}, r"losses\.costs: unknown entry 'box'"),
        ({"data": {"weights": {"panoptic": 1}, "tasks": ["panoptic"]}}, "no weights"),
        ({"data": {"path": "x"}}, "unknown entry 'path'"),
    ],
)
def test_wrong_configurations(toys, sections, message):
    with pytest.raises(ConfigError, match=message):
        toys(**sections)


def test_configuration_on_top_of_another(toys, tmp_path):
    toys()
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump({"base": "config.yaml", "loop": {"steps": 7}}))
    config = load_config(path)
    assert (config.loop.steps, config.loop.checkpoint_interval) == (7, 2)
    path.write_text("just text")
    with pytest.raises(ConfigError, match="holds no settings"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "missing.yaml")
