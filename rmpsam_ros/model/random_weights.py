"""Weights and text embeddings made from names alone, the same on every machine.

They stand in for trained weights in tests, in benchmarks and in demonstrations that have no
trained weights: the network behaves like a network (masks of both signs, spread-out classes),
but what it says about a picture means nothing.

Every tensor is drawn from its key and shape. The source is a splitmix64 stream seeded with the
CRC-32 of the key; integers are exact until one rounding to float64 and one to float32, so the
bits do not depend on the version of NumPy.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rmpsam_ros.model.checkpoint import load_official_state_dict, official_state_dict

FloatArray = npt.NDArray[np.float32]
Shape = tuple[int, ...]

_WORD = 1 << 64
_GOLDEN_RATIO = 0x9E3779B97F4A7C15
_MULTIPLIERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_BITS = 24


def load_random_weights(model: nn.Module) -> None:
    """Fill an ``RmpSam`` with weights drawn from its keys."""
    shapes = {key: tuple(value.shape) for key, value in official_state_dict(model).items()}
    weights = {key: torch.from_numpy(random_tensor(key, shape)) for key, shape in shapes.items()}
    load_official_state_dict(model, weights, source="random weights")


def random_text_embeddings(
    name: str, num_classes: int, num_synonyms: int, dim: int = 768
) -> Tensor:
    """Return [num_classes, num_synonyms, dim] float32 unit vectors drawn from a name."""
    numbers = random_integers(name, (num_classes, num_synonyms, dim)) >> 4
    length = np.sqrt((numbers * numbers).sum(axis=-1, keepdims=True).astype(np.float64))
    return torch.from_numpy((numbers.astype(np.float64) / length).astype(np.float32))


def random_integers(name: str, shape: Shape) -> npt.NDArray[np.int64]:
    """Return odd integers, uniform in (-2**24, 2**24), drawn from a name."""
    count = math.prod(shape)
    seed = zlib.crc32(name.encode()) * _GOLDEN_RATIO + _GOLDEN_RATIO
    start = _scramble(np.array([seed % _WORD], dtype=np.uint64))
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN_RATIO)
    words = _scramble(start + steps) >> np.uint64(64 - _BITS)
    return (2 * words.astype(np.int64) + 1 - (1 << _BITS)).reshape(shape)


def random_normal_like(name: str, shape: Shape, std: float) -> FloatArray:
    """Return uniform numbers of mean 0 and the given standard deviation, drawn from a name."""
    return _scaled(random_integers(name, shape), std)


def random_tensor(key: str, shape: Shape) -> npt.NDArray[np.float32] | npt.NDArray[np.int64]:
    """Return the tensor that belongs to an official state-dict key."""
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    if leaf == "running_var":
        return _uniform(key, shape, 0.5, 1.5)
    for suffixes, std in _VECTORS:
        if key.endswith(suffixes):
            return random_normal_like(key, shape, std)
    if ".dcn_offset." in key and leaf == "bias":
        return random_normal_like(key, shape, 0.5)
    if ".up_sample." in key:  # stored [in, out, 4, 4]; stride 2 reaches a quarter of the taps
        return _centred(key, shape, gain=1.4, output_axis=1, fan_in_scale=0.25)
    if leaf == "weight" and len(shape) == 1:
        return _uniform(key, shape, 0.8, 1.2)
    if leaf in ("bias", "in_proj_bias"):
        return random_normal_like(key, shape, 0.1)
    return _centred(key, shape, gain=_gain(key))


_VECTORS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("running_mean",), 0.1),
    (("kernels.weight", "mask_tokens.weight", "pb_embedding.weight"), 1.0),
)
"""Endings of keys that are drawn element by element, and their standard deviation."""

_GAINS: tuple[tuple[str, float], ...] = (
    (".dcn_offset.", 0.8),
    ("backbone.conv1.weight", 1.4),
    ("backbone.*.downsample.", 1.4),
    ("backbone.", 0.9),
    (".lateral_conv", 1.0),
    (".output_conv", 1.0),
    (".loc_conv", 0.5),
    ("s_atten.in_proj_weight", 4.0),
    ("prompt_attn.attn.in_proj_weight", 2.2),
    ("out_proj.weight", 0.5),
)
"""Gain of weight matrices; the first pattern found in the key counts."""


def _gain(key: str) -> float:
    for pattern, gain in _GAINS:
        if all(part in key for part in pattern.split("*")):
            return gain
    return 1.4


def _scramble(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Apply the splitmix64 finaliser."""
    for shift, multiplier in _MULTIPLIERS:
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(multiplier)
    return words ^ (words >> np.uint64(31))


def _scaled(numbers: npt.NDArray[np.int64], std: float) -> FloatArray:
    """Scale integers that are uniform in +-2**24 to a standard deviation."""
    return (numbers.astype(np.float64) * (std * math.sqrt(3.0) / (1 << _BITS))).astype(np.float32)


def _uniform(key: str, shape: Shape, low: float, high: float) -> FloatArray:
    numbers = random_integers(key, shape).astype(np.float64)
    return ((low + high) / 2 + numbers * ((high - low) / 2 / (1 << _BITS))).astype(np.float32)


def _centred(
    key: str, shape: Shape, gain: float, output_axis: int = 0, fan_in_scale: float = 1.0
) -> FloatArray:
    """Draw a weight matrix in which the weights of every output unit sum to almost zero.

    Without that, deep random ReLU networks drift towards constant maps.
    """
    numbers = random_integers(key, shape)
    inputs = tuple(axis for axis in range(len(shape)) if axis != output_axis)
    fan_in = math.prod(shape[axis] for axis in inputs)
    numbers = numbers - numbers.sum(axis=inputs, keepdims=True) // fan_in
    return _scaled(numbers, gain / math.sqrt(fan_in * fan_in_scale))
