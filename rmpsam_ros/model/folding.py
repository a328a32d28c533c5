"""Batch normalisations multiplied into the convolutions beside them, which changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

AnyConv = TypeVar("AnyConv", nn.Conv2d, nn.ConvTranspose2d)


@runtime_checkable
class Foldable(Protocol):
    """A part that can give one with fewer layers that computes the same in eval mode."""

    fold: Callable[[], nn.Module]


def fold_batch_norm(module: nn.Module) -> None:
    """Replace, in place, every part that can fold its batch normalisations.

    Parts with a method ``fold`` say themselves what takes their place. In an ``nn.Sequential`` a
    normalisation behind a convolution, or before one of a single pixel, goes into it. Afterwards
    the module computes what it computed in eval mode, has fewer layers, and cannot be trained as
    before. Folding twice changes nothing.
    """
    for name, child in module.named_children():
        if isinstance(child, Foldable):
            setattr(module, name, child.fold())
            continue
        if isinstance(child, nn.Sequential):
            _fold_neighbours(child)
        fold_batch_norm(child)


def norm_as_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and offset, [C], of what a batch normalisation computes in eval mode."""
    if norm.running_var is None or norm.running_mean is None:
        raise ValueError("a batch normalisation without running statistics cannot be folded")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def conv_with_norm(conv: AnyConv, norm: nn.BatchNorm2d) -> AnyConv:
    """Return the convolution that computes ``norm(conv(x))``; both may be used no longer."""
    scale, offset = norm_as_affine(norm)
    bias = offset if conv.bias is None else offset + conv.bias * scale
    axis = 1 if isinstance(conv, nn.ConvTranspose2d) else 0
    weight = conv.weight * scale.reshape([-1 if index == axis else 1 for index in range(4)])
    return with_weights(conv, weight, bias)


def norm_with_conv(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution of one pixel that computes ``conv(norm(x))``."""
    scale, offset = norm_as_affine(norm)
    bias = conv.weight[:, :, 0, 0] @ offset
    bias = bias if conv.bias is None else bias + conv.bias
    return with_weights(conv, conv.weight * scale.reshape(1, -1, 1, 1), bias)


def with_weights(conv: AnyConv, weight: Tensor, bias: Tensor) -> AnyConv:
    """Give a convolution weights of its own shape, and a bias [C], in place, and return it."""
    conv.weight = nn.Parameter(weight.detach(), conv.weight.requires_grad)
    conv.bias = nn.Parameter(bias.detach(), conv.weight.requires_grad)
    return conv


def stacked(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """Return the layer whose outputs are those of two layers, one behind the other."""
    weight = torch.cat((first.weight, second.weight)).detach()
    bias = torch.cat((first.bias, second.bias)).detach()
    return linear(weight, bias)


def in_turn(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """Return the layer that computes ``second(first(x))``."""
    weight, bias = second.weight @ first.weight, second.weight @ first.bias + second.bias
    return linear(weight.detach(), bias.detach())


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer of these weights, [out, in] and [out]."""
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], device=weight.device)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def _fold_neighbours(sequence: nn.Sequential) -> None:
    for index in range(len(sequence) - 1):
        first, second = sequence[index], sequence[index + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            conv_with_norm(first, second)
            sequence[index + 1] = nn.Identity()
        elif (
            isinstance(first, nn.BatchNorm2d)
            and isinstance(second, nn.Conv2d)
            and _is_pointwise(second)
        ):
            norm_with_conv(first, second)
            sequence[index] = nn.Identity()


def _is_pointwise(conv: nn.Conv2d) -> bool:
    # Padding would be of zeros, which a normalisation before it does not leave zero.
    return conv.kernel_size == (1, 1) and cast(tuple, conv.padding) == (0, 0) and conv.groups == 1
