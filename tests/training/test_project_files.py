"""The configurations and splits of the repository: they load, and training data stays apart."""

from pathlib import Path

import pytest

from rmpsam_ros.training.config import load_config

CONFIG = Path(__file__).parents[2] / "config"
CONFIGS = sorted(
    path for path in (CONFIG / "training").glob("*.yaml") if not path.stem.endswith("labels")
)


def names(split):
    return [line for line in split.read_text().split("\n") if line and not line.startswith("#")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configuration_loads(path, tmp_path):
    config = load_config(path, tmp_path)
    assert config.datasets
    assert config.evaluation
    assert config.label_set.num_classes == 36


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_nothing_is_trained_and_evaluated_on(path, tmp_path):
    """By folder and name; a data set without a split would be all of its folder."""
    config = load_config(path, tmp_path)
    trained, evaluated = set(), set()
    for chosen, entries in (
        (trained, [dataset for dataset, _ in config.datasets]),
        (evaluated, [entry.dataset for entry in config.evaluation]),
    ):
        for dataset in entries:
            if dataset.split:
                chosen |= {(dataset.images, name) for name in names(dataset.split)}
            else:
                chosen.add((dataset.images, None))
    assert not trained & evaluated
    folders = {folder for folder, name in trained | evaluated if name is None}
    assert not {folder for folder, _ in trained} & folders


def test_voc_pictures_are_in_one_split_only():
    """Both VOC data sets number their pictures from the same year."""
    lists = [names(path) for path in sorted((CONFIG / "splits").glob("voc2007_*.txt"))]
    assert len(lists) == 3
    assert len(set().union(*lists)) == sum(map(len, lists))


@pytest.mark.parametrize("path", sorted((CONFIG / "splits").glob("*.txt")), ids=lambda p: p.stem)
def test_splits_have_no_repetitions(path):
    listed = names(path)
    assert listed
    assert len(set(listed)) == len(listed)
