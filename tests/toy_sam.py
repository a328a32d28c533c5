"""A prompt model that is exported and run in seconds: for tests of what surrounds such models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from rmpsam_ros.model.sam import PROMPT_MODELS
from rmpsam_ros.model.sam.mask_decoder import FeatureFusion, MaskDecoder
from rmpsam_ros.model.sam.prompt_encoder import PromptEncoder
from rmpsam_ros.model.sam.prompt_model import PromptModel

NAME = "toy_sam"


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
def registered() -> Iterator[str]:
    """Have it among the models that are known by name."""
    PROMPT_MODELS[NAME] = build
    try:
        yield NAME
    finally:
        del PROMPT_MODELS[NAME]
