"""Weights and pictures of the SAM goldens, drawn from names alone, the same on every machine.

The source of the numbers is that of ``rmpsam_ros.model.random_weights``; the ranges differ, since
depthwise kernels, layer scales and the vectors of RWKV need their own.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

from rmpsam_ros.model.random_weights import random_integers, random_normal_like

UNIT = 1 << 24

unit_std = random_normal_like

RANGES: tuple[tuple[str, float, float], ...] = (
    ("token_mixer.0.bn.running_var", 1.1, 2.7),  # keeps fifty blocks of RepViT at one scale
    ("running_var", 0.5, 1.5),
    ("spatial_decay", -5.0, 3.0),
    ("spatial_first", -2.0, 1.0),
    ("spatial_mix_k", 0.0, 1.0),
    ("spatial_mix_v", 0.0, 1.0),
    ("spatial_mix_r", 0.0, 1.0),
    ("layer_scale_1", 0.3, 0.9),
    ("layer_scale_2", 0.3, 0.9),
)
"""Endings of keys whose values are uniform, with their bounds; the first that fits counts."""

SPREADS: tuple[tuple[str, float], ...] = (
    ("positional_encoding_gaussian_matrix", 1.0),
    ("running_mean", 0.1),
    ("pos_embed", 0.3),
    ("attention_biases", 0.5),
    ("point_embeddings.", 0.5),
    ("not_a_point_embed.", 0.5),
    ("no_mask_embed.", 0.5),
    ("iou_token.", 0.5),
    ("mask_tokens.", 0.5),
    (".bias", 0.1),
)
"""Parts of keys whose values are drawn around zero, with their standard deviation."""


def make_tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of an official state-dict key."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    for ending, low, high in RANGES:
        if key.endswith(ending):
            return uniform(key, shape, low, high)
    for part, std in SPREADS:
        if part in key:
            return unit_std(key, shape, std)
    if len(shape) == 1:  # the scale of a normalisation
        return uniform(key, shape, 0.8, 1.2)
    if len(shape) == 4 and shape[1] == 1 and shape[0] > 1:
        if shape[2:] == (1, 1) and ".conv1." in key:
            return uniform(key, shape, -0.6, 0.6)  # the small branch of a folded convolution
        if "mask_downscaling" not in key:
            return unit_std(key, shape, 0.7 / math.sqrt(shape[2] * shape[3]))  # depthwise
    if "output_upscaling" in key or "mr_feat_proj.0" in key:  # transposed, [in, out, 2, 2]
        return centred(key, shape, 1.4, output_axis=1, fan_in_scale=0.25)
    return centred(key, shape, _gain(key))


def _gain(key: str) -> float:
    small = (".channel_mixer.m.2.", ".conv3_1x1.", ".output.")
    if any(part in key for part in small):
        return 0.7
    return 2.0 if ".q_proj." in key or ".k_proj." in key else 1.4


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """float32, uniform between the bounds, drawn from a name."""
    numbers = random_integers(name, shape).astype(np.float64)
    return ((high + low) / 2 + numbers * ((high - low) / 2 / UNIT)).astype(np.float32)


def centred(
    key: str, shape: tuple[int, ...], gain: float, output_axis: int = 0, fan_in_scale: float = 1.0
) -> np.ndarray:
    """A matrix in which the weights of every output sum to almost zero."""
    numbers = random_integers(key, shape)
    inputs = tuple(axis for axis in range(len(shape)) if axis != output_axis)
    fan_in = math.prod(shape[axis] for axis in inputs)
    numbers = numbers - numbers.sum(axis=inputs, keepdims=True) // fan_in
    spread = gain / math.sqrt(fan_in * fan_in_scale) * math.sqrt(3.0) / UNIT
    return (numbers.astype(np.float64) * spread).astype(np.float32)


def make_frame(name: str, height: int, width: int) -> np.ndarray:
    """A picture, uint8 [height, width, 3]: a gradient, fourteen shapes, noise."""
    numbers = iter((random_words(f"{name}.shapes", 200) >> np.uint64(33)).tolist())
    y, x = np.mgrid[:height, :width]
    planes = []
    for _ in range(3):
        down, across = next(numbers) % 128, next(numbers) % 128
        planes.append(40 + down * y // height + across * x // width)
    picture = np.stack(planes, axis=-1)
    for _ in range(14):
        dy, dx = y - next(numbers) % height, x - next(numbers) % width
        half_height = 6 + next(numbers) % (height // 4)
        half_width = 6 + next(numbers) % (width // 4)
        colour = [next(numbers) % 256 for _ in range(3)]
        kind = next(numbers) % 3
        inside = (abs(dy) <= half_height) & (abs(dx) <= half_width)
        if kind == 1:  # an ellipse
            area = half_height**2 * half_width**2
            inside = dy**2 * half_width**2 + dx**2 * half_height**2 <= area
        elif kind == 2:  # stripes
            inside &= (dy + 2 * dx) // 6 % 2 == 0
        picture[inside] = colour
    noise = (random_words(f"{name}.noise", picture.size) >> np.uint64(59)).astype(np.int64)
    return (picture + noise.reshape(picture.shape) - 16).clip(0, 255).astype(np.uint8)


def random_words(name: str, count: int) -> np.ndarray:
    """64-bit words of a splitmix stream that starts at the checksum of a name."""
    step = 0x9E3779B97F4A7C15
    seed = (zlib.crc32(name.encode()) + 1) * step % (1 << 64)
    start = _scramble(np.array([seed], np.uint64))
    return _scramble(start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(step))


def _scramble(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
