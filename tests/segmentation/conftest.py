"""Helpers of these tests: the plain reference implementation, made-up scenes, stored cases."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from rmpsam_ros.segmentation.labels import load_label_set

HERE = Path(__file__).parent
DATA = HERE.parent / "goldens" / "segmentation"


def _load_helper(name):
    qualified = f"segmentation_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, HERE / f"{name}.py")
        sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]


@pytest.fixture(scope="session")
def reference():
    return _load_helper("reference")


@pytest.fixture(scope="session")
def scenes():
    return _load_helper("scenes")


@pytest.fixture(scope="session")
def coco():
    return load_label_set("coco_panoptic")


@pytest.fixture(scope="session")
def cases():
    return json.loads((DATA / "cases.json").read_text())


@pytest.fixture(scope="session")
def golden():
    """Arrays of one stored case by file name."""

    def load(name):
        with np.load(DATA / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays}

    return load


@pytest.fixture(scope="session")
def resize_rows():
    return json.loads((DATA / "resize_table.json").read_text())
