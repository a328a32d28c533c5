"""Bi-WKV attention against its defining sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rmpsam_ros.model.sam.bi_wkv import CHUNK, bi_wkv


def by_definition(decay: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The formula, term by term, in float64; quadratic in the number of tokens."""
    decay, bonus, key, value = (x.double() for x in (decay, bonus, key, value))
    tokens = key.shape[1]
    index = torch.arange(tokens)
    distance = (index[:, None] - index).abs()[..., None]  # [T, T, 1]
    exponent = -(distance - 1) * decay / tokens
    exponent = torch.where(distance == 0, bonus / tokens, exponent) + key[:, None]
    weight = torch.softmax(exponent, dim=2)  # [B, T, T, C]
    return (weight * value[:, None]).sum(2)


def random_inputs(
    batch: int, tokens: int, channels: int, decay: float, spread: float
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens)
    key = spread * torch.randn(batch, tokens, channels, generator=generator)
    value = torch.randn(batch, tokens, channels, generator=generator)
    bonus = torch.randn(channels, generator=generator)
    return torch.linspace(-decay, decay, channels), bonus, key, value


@pytest.mark.parametrize(
    ("tokens", "decay", "spread"),
    [
        (1, 5, 1),
        (2, 5, 1),
        (CHUNK - 1, 5, 1),
        (CHUNK, 5, 1),
        (CHUNK + 1, 5, 1),
        (2 * CHUNK, 5, 1),
        (180, 5, 4),
        (180, 20, 4),
        (700, 60, 4),
        (700, 60, 0),
        (700, 120, 1),
        (700, 0, 1),
    ],
)
def test_equals_the_defining_sum(tokens: int, decay: float, spread: float) -> None:
    inputs = random_inputs(2, tokens, 5, decay, spread)
    expected = by_definition(*inputs)
    scale = expected.abs().max()
    assert (bi_wkv(*inputs) - expected).abs().max() <= 1e-5 * scale
    double = bi_wkv(*(x.double() for x in inputs))
    assert (double - expected).abs().max() <= 1e-13 * scale


@pytest.mark.parametrize("shift", [-300.0, 300.0])
def test_keys_far_from_zero_do_not_overflow(shift: float) -> None:
    """Only differences between keys count."""
    decay, bonus, key, value = random_inputs(1, 100, 4, 5, 1)
    key = key.round(decimals=2)
    expected = bi_wkv(decay, bonus, key, value)
    torch.testing.assert_close(
        bi_wkv(decay, bonus, key + shift, value), expected, atol=1e-3, rtol=0
    )


def test_constant_values_stay_constant() -> None:
    """The result is a weighted mean, at the scale of a 1024 x 1024 picture too."""
    decay, bonus, key, value = random_inputs(1, 4096, 3, 5, 2)
    torch.testing.assert_close(
        bi_wkv(decay, bonus, key, torch.full_like(value, 3.5)), torch.full_like(value, 3.5)
    )


def test_order_of_tokens_may_be_reversed() -> None:
    decay, bonus, key, value = random_inputs(1, 150, 4, 5, 1)
    forward = bi_wkv(decay, bonus, key, value)
    backward = bi_wkv(decay, bonus, key.flip(1), value.flip(1)).flip(1)
    torch.testing.assert_close(forward, backward, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    inputs = tuple(x.to(dtype) for x in random_inputs(1, 4096, 3, 5, 2))
    out = bi_wkv(*inputs)
    assert out.dtype == dtype
    expected = bi_wkv(*(x.float() for x in inputs)).to(dtype)
    assert torch.equal(out, expected)


def test_gradients_are_those_of_the_defining_sum() -> None:
    inputs = [x.double().requires_grad_() for x in random_inputs(1, 70, 3, 5, 1)]
    torch.manual_seed(0)
    seed = torch.randn(1, 70, 3, dtype=torch.float64)
    actual = torch.autograd.grad((bi_wkv(*inputs) * seed).sum(), inputs)
    expected = torch.autograd.grad((by_definition(*inputs) * seed).sum(), inputs)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_cost_grows_linearly() -> None:
    """Counted, not timed: twice the tokens, about twice the operations."""

    def operations(tokens: int) -> int:
        from torch.utils.flop_counter import FlopCounterMode

        inputs = random_inputs(1, tokens, 8, 5, 1)
        with FlopCounterMode(display=False) as counter:
            bi_wkv(*inputs)
        return counter.get_total_flops()

    assert operations(4096) <= 2.2 * operations(2048)
