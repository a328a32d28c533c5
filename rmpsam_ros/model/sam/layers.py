"""Layers that several models of the SAM family share."""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a map, at every pixel on its own.

    Input and output [B, C, H, W]; biased variance, learnt scale and offset per channel.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, H, W] over C; the same shape comes out."""
        channels_last = x.permute(0, 2, 3, 1)
        normed = functional.layer_norm(
            channels_last, self.weight.shape, self.weight, self.bias, self.eps
        )
        return normed.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """A stack of linear layers with ReLU between them.

    Input [..., widths[0]], output [..., widths[-1]].
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., widths[0]] to [..., widths[-1]]."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return cast(Tensor, self.layers[-1](x))


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation; padding keeps the size at stride 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        return cast(Tensor, self.bn(self.c(x)))

    def fold(self) -> nn.Conv2d:
        """The single convolution that computes the same in eval mode."""
        scale, offset = norm_as_affine(self.bn)
        weight = self.c.weight * scale.reshape(-1, 1, 1, 1)
        return convolution_like(self.c, weight, offset)


def norm_as_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and offset [C] of what a batch normalisation computes in eval mode."""
    if norm.running_var is None or norm.running_mean is None:
        raise ValueError("a batch normalisation without running statistics cannot be folded")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def convolution_like(template: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution with the geometry of `template` and these weights and bias."""
    convolution = nn.Conv2d(
        template.in_channels,
        template.out_channels,
        cast(tuple[int, int], template.kernel_size),
        cast(tuple[int, int], template.stride),
        cast(tuple[int, int], template.padding),
        groups=template.groups,
        device=weight.device,
        dtype=weight.dtype,
    )
    with torch.no_grad():
        convolution.weight.copy_(weight)
        cast(nn.Parameter, convolution.bias).copy_(bias)
    return convolution.train(template.training)


@runtime_checkable
class _Foldable(Protocol):
    fold: Callable[[], nn.Conv2d]


def fold_batch_norm(module: nn.Module) -> None:
    """Replace, in place, every part that can fold its batch normalisations by one convolution.

    Afterwards the module computes what it computed in eval mode, has fewer layers, and cannot be
    trained as before. Folding twice changes nothing.
    """
    for name, child in module.named_children():
        if isinstance(child, _Foldable):
            setattr(module, name, child.fold())
        else:
            fold_batch_norm(child)


def sam_neck(inputs: int, outputs: int = 256) -> nn.Sequential:
    """The two convolutions that end every image encoder of the family; keeps the map size."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        LayerNorm2d(outputs),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        LayerNorm2d(outputs),
    )
