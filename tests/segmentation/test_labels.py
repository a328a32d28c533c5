"""Packaged label sets, and every way a user's file can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rmpsam_ros.segmentation.labels import (
    PACKAGED,
    Label,
    LabelSet,
    LabelSetError,
    generate_color,
    load_label_set,
)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_sets_load(name):
    labels = load_label_set(name)
    assert labels.name == name
    assert [label.class_id for label in labels.labels] == list(range(labels.num_classes))
    assert len({label.color for label in labels.labels}) > 0.9 * labels.num_classes
    assert labels.unlabelled == 255 and labels.semantic_dtype is np.uint8


def test_coco_panoptic_is_the_official_list():
    labels = load_label_set("coco_panoptic")
    assert labels.num_classes == 133 and labels.num_things == 80
    assert all(label.is_thing == (label.class_id < 80) for label in labels.labels)
    rows = {i: (labels.labels[i].name, labels.labels[i].color) for i in (0, 2, 79, 80, 100, 132)}
    assert rows == {
        0: ("person", (220, 20, 60)),
        2: ("car", (0, 0, 142)),
        79: ("toothbrush", (191, 162, 208)),
        80: ("banner", (255, 255, 128)),
        100: ("road", (128, 64, 128)),
        132: ("rug-merged", (250, 141, 255)),
    }


def test_youtube_vis_2019():
    labels = load_label_set("youtube_vis_2019")
    assert labels.num_classes == labels.num_things == 40
    names = [label.name for label in labels.labels]
    assert names[:3] == ["person", "giant_panda", "lizard"] and names[-1] == "tennis_racket"


@pytest.mark.parametrize(
    "count, unlabelled, dtype",
    [(1, 255, np.uint8), (254, 255, np.uint8), (255, 65535, np.uint16), (300, 65535, np.uint16)],
)
def test_semantic_type(count, unlabelled, dtype):
    labels = LabelSet("n", tuple(Label(i, f"c{i}", True, (0, 0, 0)) for i in range(count)))
    assert (labels.unlabelled, labels.semantic_dtype) == (unlabelled, dtype)


def test_generated_colors_differ():
    colors = np.array([generate_color(i) for i in range(60)], int)
    distance = np.abs(colors[:, None] - colors[None]).sum(-1) + 999 * np.eye(60, dtype=int)
    assert distance.min() > 8
    assert np.abs(np.diff(colors, axis=0)).sum(-1).min() > 100


YAML = """
name: kitchen
labels:
  - {name: cup, is_thing: true, color: [255, 0, 10]}
  - {name: table, is_thing: false}
"""


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_file_of_the_user(tmp_path, suffix):
    text = YAML
    if suffix == ".json":
        cup = {"name": "cup", "is_thing": True, "color": [255, 0, 10]}
        table = {"name": "table", "is_thing": False}
        text = json.dumps({"name": "kitchen", "labels": [cup, table]})
    path = tmp_path / f"mine{suffix}"
    path.write_text(text)
    labels = load_label_set(path)
    assert labels.name == "kitchen" and labels.num_things == 1
    assert labels.labels[0] == Label(0, "cup", True, (255, 0, 10))
    assert labels.labels[1].color == generate_color(1)
    assert load_label_set(str(path)) == labels


def test_file_without_a_name_is_called_after_itself(tmp_path):
    path = tmp_path / "garage.yaml"
    path.write_text("labels: [{name: car, is_thing: true}]")
    assert load_label_set(path).name == "garage"


BAD = [
    ("", "mapping with a list"),
    ("[]", "mapping with a list"),
    ("labels: 3", "mapping with a list"),
    ("labels: {cup: true}", "mapping with a list"),
    ("labels: []", "1 to 10000"),
    ("labels: [cup]", "label 0 must be a mapping"),
    ("labels: [{name: cup}]", "is_thing must be true or false"),
    ("labels: [{name: cup, is_thing: 1}]", "is_thing must be true or false"),
    ("labels: [{is_thing: true}]", "must have a name"),
    ("labels: [{name: '  ', is_thing: true}]", "must have a name"),
    ("labels: [{name: 3, is_thing: true}]", "must have a name"),
    ("labels: [{name: a, is_thing: true, colour: [1, 2, 3]}]", "unknown keys.*colour"),
    ("labels: [{name: a, is_thing: true, color: [1, 2]}]", "3 numbers"),
    ("labels: [{name: a, is_thing: true, color: [1, 2, 256]}]", "3 numbers"),
    ("labels: [{name: a, is_thing: true, color: [1, 2, -1]}]", "3 numbers"),
    ("labels: [{name: a, is_thing: true, color: [1, 2, true]}]", "3 numbers"),
    ("labels: [{name: a, is_thing: true, color: red}]", "3 numbers"),
    ("labels: [{name: a, is_thing: true}, {name: a, is_thing: false}]", r"repeats.*\['a'\]"),
    ("name: [x]\nlabels: [{name: a, is_thing: true}]", "must be text"),
    ("labels: [{name: a, is_thing: true", "cannot read"),
    ("labels: !!python/object/apply:os.getcwd []", "cannot read"),
    ("\x00", "cannot read"),
    ("[" * 100000, "cannot read"),
]


@pytest.mark.parametrize("text, message", BAD, ids=range(len(BAD)))
def test_refuses_file(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(LabelSetError, match=message):
        load_label_set(path)


def test_refuses_broken_json(tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(LabelSetError, match="cannot read"):
        load_label_set(path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("coco", "coco_panoptic, youtube_vis_2019 or a .json or .yaml file"),
        ("", "must be one of"),
        ("../labels.py", "must be one of"),
        ("/nowhere/labels.yaml", "cannot read"),
    ],
)
def test_refuses_name(name, message):
    with pytest.raises(LabelSetError, match=message):
        load_label_set(name)


def test_class_ids_count_from_zero():
    with pytest.raises(LabelSetError, match="count from 0"):
        LabelSet("x", (Label(1, "a", True, (0, 0, 0)),))
