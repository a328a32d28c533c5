"""Models that are exported and run in seconds: for tests of what surrounds models."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from rmpsam_ros.model import MODEL_CONFIGS
from rmpsam_ros.model.backbones import BACKBONES
from rmpsam_ros.model.sam import PROMPT_MODELS
from rmpsam_ros.model.sam.mask_decoder import FeatureFusion, MaskDecoder
from rmpsam_ros.model.sam.prompt_encoder import PromptEncoder
from rmpsam_ros.model.sam.prompt_model import PromptModel

SAM = "toy_sam"
NETWORK = "rmpsam_toy"
BACKBONE = Path(__file__).parent / "runtime" / "extension" / "toy_backbone.py"


class ToyEncoder(nn.Module):
    """Features [B, 256, H/16, W/16] and the maps of strides 4 and 8, by three convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.high = nn.Conv2d(3, 8, 4, stride=4)
        self.middle = nn.Conv2d(8, 16, 2, stride=2)
        self.last = nn.Conv2d(16, 256, 2, stride=2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        high = self.high(images)
        middle = self.middle(high.relu())
        return self.last(middle.relu()), high, middle


def build() -> PromptModel:
    decoder = MaskDecoder(num_masks=1, fusion=FeatureFusion(8, 16))
    return PromptModel(ToyEncoder(), PromptEncoder(), decoder)


@contextmanager
def toy_sam() -> Iterator[str]:
    """Have the prompt model among those that are known by name."""
    PROMPT_MODELS[SAM] = build
    try:
        yield SAM
    finally:
        del PROMPT_MODELS[SAM]


@contextmanager
def toy_network() -> Iterator[str]:
    """Have a network with a small backbone among those that are known by name."""
    spec = importlib.util.spec_from_file_location("toy_backbone", BACKBONE)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    try:
        yield NETWORK
    finally:
        del BACKBONES["toy"], MODEL_CONFIGS[NETWORK]
