"""Small data sets in every format, drawn with rectangles, and one with boxes and balls."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.training.config import load_config
from rmpsam_ros.training.datasets import DatasetConfig
from rmpsam_ros.training.taxonomy import ClassMapping

SIZE = (48, 64)
"""Height and width of the pictures."""

COLORS = {"box": (200, 40, 40), "ball": (40, 200, 40), "floor": (40, 40, 200)}
TABLE = {
    "name": "toys",
    "labels": [
        {"name": name, "is_thing": name != "floor", "color": list(color)}
        for name, color in COLORS.items()
    ],
}


@pytest.fixture(scope="session")
def label_set():
    labels = [("box", True), ("ball", True), ("floor", False)]
    return LabelSet(
        "toys",
        tuple(Label(i, name, thing, COLORS[name]) for i, (name, thing) in enumerate(labels)),
    )


@pytest.fixture
def mapping(label_set):
    """Make a mapping; by default every name maps to itself."""

    def make(names=None, **options):
        names = {name: name for name in COLORS} if names is None else names
        return ClassMapping(label_set, names, **options)

    return make


@pytest.fixture
def describe(tmp_path, mapping):
    """Make the description of a data set below ``tmp_path``."""

    def make(kind, annotations, **options):
        options.setdefault("mapping", mapping())
        options.setdefault("class_names", dict(enumerate(["box", "ball", "floor", "void"])))
        options.setdefault("images", tmp_path / "images")
        return DatasetConfig(
            name="toys", format=kind, annotations=tmp_path / annotations, **options
        )

    return make


@pytest.fixture
def write_image(tmp_path):
    """Write a picture with these regions: (name, (x1, y1, x2, y2)) in painting order."""

    def write(name, regions=(), folder="images"):
        image = np.full((*SIZE, 3), 90, np.uint8)
        for label, (x1, y1, x2, y2) in regions:
            image[y1:y2, x1:x2] = COLORS[label]
        path = tmp_path / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image[:, :, ::-1])
        return path

    return write


def write_png(path: Path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def write_json(path: Path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def save(tmp_path):
    """Write an array as PNG or anything else as JSON or text, by the suffix of the path."""

    def write(path, content):
        path = tmp_path / path
        if path.suffix == ".png":
            write_png(path, content)
        elif path.suffix == ".json":
            write_json(path, content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return path

    return write


def draw(rng, size=96):
    """A floor with boxes and balls that do not touch; returns picture and labels."""
    labels = np.full((size, size), 2, np.uint8)
    cells = rng.permutation(4)[: rng.integers(2, 5)]
    for cell in cells:
        y, x = (int(v) * size // 2 + size // 4 for v in divmod(int(cell), 2))
        radius = int(rng.integers(size // 8, size // 5))
        if rng.random() < 0.5:
            labels[y - radius : y + radius, x - radius : x + radius] = 0
        else:
            cv2.circle(labels, (x, y), radius, 1, -1)
    colors = np.array(list(COLORS.values()), np.uint8)
    image = colors[labels].astype(np.int16) + rng.integers(-20, 21, (size, size, 3))
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture
def toys(tmp_path):
    """Write a data set of drawn pictures and a configuration, and return a loader of it."""

    def make(count=2, data=None, **sections):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels").mkdir(exist_ok=True)
        rng = np.random.default_rng(5)
        for index in range(count):
            image, labels = draw(rng)
            cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), image[:, :, ::-1])
            cv2.imwrite(str(tmp_path / "labels" / f"{index}.png"), labels)
        (tmp_path / "toys.yaml").write_text(yaml.safe_dump(TABLE))
        dataset = {
            "name": "toys",
            "format": "label_maps",
            "images": "images",
            "annotations": "labels",
            "class_names": ["box", "ball", "floor"],
            **(data or {}),
        }
        content = {
            "network": "rmpsam_r18",
            "labels": "toys.yaml",
            "datasets": [{**dataset, "weights": {"panoptic": 1, "clip": 1, "prompt": 1}}],
            "evaluation": [{**dataset, "tasks": ["panoptic"]}],
            "batches": {"batch_size": 1, "num_prompts": 4},
            "augment": {"height": 64, "width": 64, "scale": [0.8, 1.5]},
            "losses": {"num_points": 128},
            "optimizer": {"warmup_steps": 2},
            "loop": {
                "steps": 4,
                "checkpoint_interval": 2,
                "workers": 0,
                "log_interval": 1,
                "threads": 1,
            },
        }
        for key, value in sections.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) else value
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return load_config(path)

    return make
