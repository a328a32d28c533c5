"""Fixtures of the tests of the SAM family."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from rmpsam_ros.model.sam import ImageEmbedding, PromptModel, build_prompt_model, load_prompt_model

TESTS = Path(__file__).resolve().parents[1]

# The golden comparison and its random weights serve the command-line tools too.
sys.path.append(str(TESTS.parent / "tools" / "goldens"))

from sam_random_weights import make_frame, unit_std  # noqa: E402
from sam_reference import WEIGHTS, Reference, find_shared  # noqa: E402


@pytest.fixture(scope="session")
def reference() -> Reference:
    """The part of the goldens that is in the repository, and the pictures if they are here."""
    return Reference(TESTS / "goldens" / "sam", find_shared())


@pytest.fixture(scope="session")
def mobile_sam() -> PromptModel:
    """MobileSAM as it is shipped."""
    return load_prompt_model("mobile_sam", WEIGHTS)


@pytest.fixture(scope="session")
def rwkv_sam() -> PromptModel:
    """The smallest model with feature fusion, untrained."""
    torch.manual_seed(0)
    return build_prompt_model("rwkv_sam_t")


@pytest.fixture(scope="session")
def embedding() -> ImageEmbedding:
    """An embedding for models without fusion, as large as a real one."""
    features = unit_std("test.embedding", (1, 256, 64, 64), 0.2)
    return ImageEmbedding(torch.from_numpy(features))


@pytest.fixture(scope="session")
def frame():
    """The maker of pictures: name, height and width to uint8 [height, width, 3]."""
    return make_frame
