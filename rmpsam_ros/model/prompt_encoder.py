"""Boxes (and points as small boxes) to prompt queries (docs/reference/rmpsam.md, section 7)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

POINT_HALF_SIZE = 3
"""A point (x, y) is the box (x - 3, y - 3, x + 3, y + 3), in pixels of the resized image."""

DEFAULT_LABEL = 1
"""The label of every prompt, point or box, in the released weights; label 0 was never trained."""

_TEMPERATURE = 10000.0
_BORDER = 1e-5


class PromptEncoder(nn.Module):
    """Sine encoding of a box, a linear layer, and learned label and mask embeddings."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.sine_dim = dim // 2
        self.position_layer = nn.Linear(4 * self.sine_dim, dim)
        self.label_embedding = nn.Embedding(2, dim)
        self.mask_token = nn.Parameter(torch.randn(1, dim))

    def forward(self, boxes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the prompt queries, [B, K, d].

        Args:
            boxes: [B, K, 4] as x1, y1, x2, y2 in [0, 1] of the unpadded resized image.
            labels: [B, K] integers, 0 or 1; without them every label is 1.
        """
        position = self.position_layer(sine_encoding(boxes, self.sine_dim))
        if labels is None:
            label = self.label_embedding.weight[DEFAULT_LABEL]
        else:
            label = self.label_embedding(labels)
        return position + label + self.mask_token


def sine_encoding(boxes: Tensor, dim: int) -> Tensor:
    """Encode boxes as sines and cosines of their centre and size.

    Args:
        boxes: [B, K, 4], normalised x1, y1, x2, y2.

    Returns:
        [B, K, 4 * dim]: ``dim`` numbers each for cy, cx, width and height, sine and cosine
        alternating.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    box = torch.stack(((y1 + y2) / 2, (x1 + x2) / 2, x2 - x1, y2 - y1), dim=-1)
    box = box.clamp(_BORDER, 1 - _BORDER)
    exponent = torch.arange(dim // 2, dtype=boxes.dtype, device=boxes.device) * (2 / dim)
    angles = box.unsqueeze(-1) * (2 * math.pi) * torch.pow(_TEMPERATURE, -exponent)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(2)
