"""The sine encoding of prompts."""

from __future__ import annotations

import math

import pytest
import torch

from rmpsam_ros.model.prompt_encoder import PromptEncoder, sine_encoding


def by_definition(box: tuple[float, ...], dim: int) -> list[float]:
    """Number by number (docs/reference/rmpsam.md, section 7)."""
    x1, y1, x2, y2 = box
    encoding = []
    for value in ((y1 + y2) / 2, (x1 + x2) / 2, x2 - x1, y2 - y1):
        value = min(max(value, 1e-5), 1 - 1e-5)
        for i in range(dim):
            angle = 2 * math.pi * value / 10000 ** (2 * (i // 2) / dim)
            encoding.append(math.cos(angle) if i % 2 else math.sin(angle))
    return encoding


@pytest.mark.parametrize(
    "box",
    [
        (0.1, 0.2, 0.4, 0.9),
        (0.0, 0.0, 1.0, 1.0),
        (-0.02, 0.97, 0.02, 1.03),
        (0.5, 0.5, 0.5, 0.5),
        (0.4, 0.9, 0.1, 0.2),
        (-3.0, 2.0, -2.0, 5.0),
    ],
    ids=["inside", "whole picture", "over the border", "no area", "reversed", "outside"],
)
def test_encoding_follows_the_definition(box: tuple[float, ...]) -> None:
    encoded = sine_encoding(torch.tensor([[box]], dtype=torch.float64), 128)
    expected = torch.tensor(by_definition(box, 128), dtype=torch.float64)
    assert encoded.shape == (1, 1, 512)
    torch.testing.assert_close(encoded[0, 0], expected, atol=1e-9, rtol=0)


def test_query_is_position_plus_label_plus_token() -> None:
    encoder = PromptEncoder(256)
    boxes = torch.rand(2, 3, 4)
    labels = torch.tensor([[0, 1, 0], [1, 1, 0]])
    position = encoder.position_layer(sine_encoding(boxes, 128))
    expected = position + encoder.label_embedding.weight[labels] + encoder.mask_token
    torch.testing.assert_close(encoder(boxes, labels), expected)
