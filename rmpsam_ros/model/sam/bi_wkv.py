"""Bidirectional WKV attention in linear time (RWKV-SAM, Eq. 4; Vision-RWKV)."""

import torch
from torch import Tensor

CHUNK = 64
"""Tokens of one chunk of the running sums; near the square root of the usual 4096 tokens."""


def bi_wkv(decay: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Mix the values of all tokens, per channel, weighted by keys and by distance.

    With d and u the learnt vectors and T the number of tokens,

        y_t = (sum_{i != t} exp(-(|t - i| - 1) d / T + k_i) v_i + exp(u / T + k_t) v_t) / (... 1)

    where the denominator is the same without v. Time and memory grow linearly with T; there is no
    loop over tokens, only four running sums made of matrix products. Computed in float32 (float64
    for such input), since the weights span exp(|d|). Good to 1e-5 while |d| / 2 plus the spread of
    the keys of a channel stays below 80; d lies between -5 and 3 at the start of training.

    Args:
        decay: [C], d; divided by T here.
        bonus: [C], u; divided by T here.
        key: [B, T, C], k.
        value: [B, T, C], v.

    Returns:
        [B, T, C], y in the type of `value`.

    Source: docs/reference/sam_family.md, section 4.3.
    """
    tokens, channels = key.shape[-2:]
    dtype = torch.promote_types(value.dtype, torch.float32)
    decay, key = decay.to(dtype), key.to(dtype)
    rate = decay / tokens
    # The quotient does not change when all weights of a channel are scaled. Where d is negative
    # distance adds weight, up to exp(-d): half of that is taken off beforehand.
    offset = key.amax(dim=-2, keepdim=True) + torch.relu(-decay) / 2
    weight = torch.exp(key - offset)
    weighted = torch.cat([weight * value.to(dtype), weight], dim=-1)  # [B, T, 2C]

    own = torch.exp(bonus.to(dtype) / tokens).repeat(2)
    total = _sum_before(weighted, rate) + _sum_before(weighted.flip(-2), rate).flip(-2)
    total = total + own * weighted
    return (total[..., :channels] / total[..., channels:]).to(value.dtype)


def _sum_before(x: Tensor, rate: Tensor) -> Tensor:
    """Sum of all earlier tokens, each weighted with exp(-(t - i - 1) rate); zero for the first.

    `x` [B, T, 2C], `rate` [C]. exp(-(t - i) rate) is a product of a factor of t and a factor of
    i, and each of them one of the place in its chunk and one of the chunk, so that few factors
    are needed. Counting from the middle keeps all of them within exp(|d| / 2). Sums within
    chunks, then over chunks, are products with a triangular matrix: much faster than a running
    sum along a strided axis, and every backend has it. Nothing is subtracted, so a small sum
    keeps its precision beside a large one.
    """
    batch, tokens, channels = x.shape
    length = min(CHUNK, tokens)
    chunks = (tokens + length - 1) // length
    x = torch.nn.functional.pad(x, (0, 0, 0, chunks * length - tokens))
    x = x.reshape(batch, chunks, length, channels)
    within = _factors(length, 1, rate)
    between = _factors(chunks, length, rate)
    rising = x * within
    inside = _strictly_lower(length, x) @ rising
    earlier = _strictly_lower(chunks, x) @ (rising.sum(dim=2) * between) / between
    # A neighbour counts fully: one step of the distance is taken back.
    total = (inside + earlier.unsqueeze(2)) * (torch.exp(rate).repeat(2) / within)
    return total.reshape(batch, -1, channels)[:, :tokens]


def _factors(count: int, step: int, rate: Tensor) -> Tensor:
    """exp(place * rate), twice side by side, [count, 2C], of places counted from the middle."""
    place = torch.arange(count, dtype=rate.dtype, device=rate.device) - (count - 1) / 2
    return torch.exp(step * place[:, None] * rate).repeat(1, 2)


def _strictly_lower(size: int, like: Tensor) -> Tensor:
    return torch.ones(size, size, dtype=like.dtype, device=like.device).tril(-1)
