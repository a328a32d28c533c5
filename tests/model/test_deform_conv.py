"""The deformable convolution against its definition, in all of its forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rmpsam_ros.model import deform_conv
from rmpsam_ros.model.deform_conv import DeformConv2d

FORMS = {
    "gather": deform_conv._gather_deform_conv,
    "grid_sample": deform_conv._grid_sample_deform_conv,
}


def by_definition(x: np.ndarray, w: np.ndarray, offset: np.ndarray, mask: np.ndarray):
    """Loop over everything (docs/reference/rmpsam.md, section 3, item 3)."""
    batch, channels, height, width = x.shape
    out = np.zeros((batch, w.shape[0], height, width))

    def pixel(b: int, row: int, column: int) -> np.ndarray:
        inside = 0 <= row < height and 0 <= column < width
        return x[b, :, row, column] if inside else np.zeros(channels)

    for b, y, column, k in np.ndindex(batch, height, width, 9):
        py = y - 1 + k // 3 + offset[b, 2 * k, y, column]
        px = column - 1 + k % 3 + offset[b, 2 * k + 1, y, column]
        if py <= -1 or px <= -1 or py >= height or px >= width:
            continue
        top, left = math.floor(py), math.floor(px)
        dy, dx = py - top, px - left
        sample = (
            (1 - dy) * (1 - dx) * pixel(b, top, left)
            + (1 - dy) * dx * pixel(b, top, left + 1)
            + dy * (1 - dx) * pixel(b, top + 1, left)
            + dy * dx * pixel(b, top + 1, left + 1)
        )
        out[b, :, y, column] += w[:, :, k // 3, k % 3] @ sample * mask[b, k, y, column]
    return out


def case(spread: float, whole: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x, weight, offset and mask in float64 for two small pictures."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    offset = spread * torch.randn(2, 18, 5, 7, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 9, 5, 7, generator=generator, dtype=torch.float64)
    return x, weight, offset.round() if whole else offset, mask


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("spread", "whole"),
    [(0.0, False), (1.0, False), (6.0, False), (3.0, True), (1e6, False), (1e15, False)],
    ids=["none", "near", "over the border", "whole pixels", "far away", "absurd"],
)
def test_forms_agree_with_the_definition(form: str, spread: float, whole: bool) -> None:
    x, weight, offset, mask = case(spread, whole)
    out = FORMS[form](x, weight, offset, mask)
    expected = by_definition(*(t.numpy() for t in (x, weight, offset, mask)))
    assert np.abs(out.numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("form", FORMS)
def test_without_offset_it_is_a_convolution(form: str) -> None:
    x, weight, offset, mask = case(0.0)
    out = FORMS[form](x, weight, offset, torch.ones_like(mask))
    torch.testing.assert_close(out, torch.nn.functional.conv2d(x, weight, padding=1))


@pytest.mark.parametrize("form", FORMS)
def test_memory_format_does_not_matter(form: str) -> None:
    x, weight, offset, mask = case(1.0)
    channels_last = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight, offset))
    out = FORMS[form](*channels_last, mask)
    torch.testing.assert_close(out, FORMS[form](x, weight, offset, mask))


@pytest.mark.parametrize("form", FORMS)
def test_gradients(form: str) -> None:
    inputs = tuple(t[:1, :, :3, :4].clone().requires_grad_() for t in case(0.7))
    inputs = (inputs[0], case(0.7)[1].requires_grad_(), *inputs[2:])
    assert torch.autograd.gradcheck(FORMS[form], inputs)


@pytest.mark.parametrize("form", FORMS)
def test_positions_keep_float32_in_half_precision(form: str) -> None:
    """With positions in bfloat16 the error of a wide map is tens of percent."""
    x = torch.linspace(0, 400, 400).repeat(1, 1, 4, 1)
    offset = torch.full((1, 18, 4, 400), 0.25)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    mask = torch.ones(1, 9, 4, 400)
    exact = FORMS[form](x, weight, offset, mask)
    half = FORMS[form](*(t.bfloat16() for t in (x, weight, offset, mask)))
    relative = (half.float() - exact).abs()[0, 0, :3, 1:-1] / exact[0, 0, :3, 1:-1]
    assert half.dtype == torch.bfloat16
    assert relative.max() < 0.02


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_broken_offsets_do_not_crash(value: float) -> None:
    """Overflow in half precision, or a broken checkpoint, must not read outside of memory."""
    x, _, offset, mask = case(1.0)
    offset[0, 3, 2, 2] = value
    out = DeformConv2d(3, 4).double()(x, offset, mask)
    assert out.shape == (2, 4, 5, 7)
    assert bool(torch.isfinite(out[1]).all())


def test_traced_and_eager_forms_agree() -> None:
    x, _, offset, mask = case(1.0)
    layer = DeformConv2d(3, 4).double()
    program = torch.export.export(layer, (x, offset, mask))
    operators = {str(node.target) for node in program.graph.nodes}
    assert any("grid_sampler" in name for name in operators)
    torch.testing.assert_close(program.module()(x, offset, mask), layer(x, offset, mask))
