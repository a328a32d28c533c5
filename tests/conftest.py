"""Fixtures of the data sets and of training: sets in every format, drawn with rectangles."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rmpsam_ros.data import DatasetConfig
from rmpsam_ros.data.taxonomy import ClassMapping
from rmpsam_ros.segmentation.labels import Label, LabelSet

SIZE = (48, 64)
"""Height and width of the pictures."""

LONGEST = (
    "benchmark/test_network",
    "runtime/test_sam_load",
    "runtime/test_sam_tensorrt",
    "training/test_trainer",
    "runtime/test_load",
    "runtime/test_sam_golden",
    "node/test_integration_start",
    "runtime/test_tensorrt_build",
    "runtime/test_extension",
    "runtime/test_tubes",
    "model_sam/test_golden",
    "cli/test_bag",
)
"""Modules that take minutes: they begin, so that at the end no process works alone on one."""


def pytest_collection_modifyitems(items):
    """Bring the longest modules to the front, and leave all others in order."""
    places = {f"tests/{name}.py": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


COLORS = {"box": (200, 40, 40), "ball": (40, 200, 40), "floor": (40, 40, 200)}


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
