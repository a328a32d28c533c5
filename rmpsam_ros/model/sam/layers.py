"""Layers that several models of the SAM family share."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmpsam_ros.model.folding import conv_with_norm


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a map, at every pixel on its own.

    Input and output [B, C, H, W]; biased variance, learnt scale and offset per channel, in whose
    precision it is computed.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, H, W] over C; the same shape comes out."""
        channels_last = x.permute(0, 2, 3, 1).to(self.weight.dtype)
        normed = functional.layer_norm(
            channels_last, self.weight.shape, self.weight, self.bias, self.eps
        )
        return normed.to(x.dtype).permute(0, 3, 1, 2)

    def exact_parts(self, dtype: torch.dtype) -> tuple[str, ...]:
        """Name the parts that stay in float32 when the others are converted: all."""
        return ("weight", "bias")


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
        return conv_with_norm(self.c, self.bn)


def sam_neck(inputs: int, outputs: int = 256) -> nn.Sequential:
    """The two convolutions that end every image encoder of the family; keeps the map size."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        LayerNorm2d(outputs),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        LayerNorm2d(outputs),
    )
