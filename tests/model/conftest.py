"""Fixtures of the network tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from rmpsam_ros.model import RmpSam, build_model, load_random_weights, random_text_embeddings

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder with the data of the network tests."""
    return TESTS / "goldens" / "model"


@pytest.fixture(scope="session")
def golden_network() -> ModuleType:
    """The module that runs golden files, which the command-line tool uses too."""
    path = TESTS.parent / "tools" / "goldens" / "golden_network.py"
    spec = importlib.util.spec_from_file_location("golden_network", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def _r18() -> RmpSam:
    model = build_model("rmpsam_r18", random_text_embeddings("test.vocabulary", 7, 3))
    load_random_weights(model)
    return model


@pytest.fixture
def r18(_r18: RmpSam) -> RmpSam:
    """ResNet-18 network with generated weights and 7 classes; leave its weights alone."""
    _r18.zero_grad(set_to_none=True)
    return _r18


@pytest.fixture(scope="session")
def r18_double() -> RmpSam:
    """The same network in float64; leave its weights alone."""
    model = build_model("rmpsam_r18", random_text_embeddings("test.vocabulary", 7, 3))
    load_random_weights(model)
    return model.double()


@pytest.fixture(scope="session")
def features_double() -> torch.Tensor:
    """Features of two small pictures, [2, 256, 16, 24] float64."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 256, 16, 24, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="session")
def boxes_double() -> torch.Tensor:
    """Five prompts on each of the two pictures, [2, 5, 4] float64."""
    generator = torch.Generator().manual_seed(4)
    corners = torch.rand(2, 5, 2, 2, generator=generator, dtype=torch.float64)
    return corners.sort(dim=2).values.flatten(2)
