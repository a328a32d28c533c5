"""EfficientNet-Lite0 as a source of maps (Tan and Le, arXiv 1905.11946, without its gates).

Only for weights that stay as they are: batch norms are folded into the convolutions before them,
which is exact, so that none is left here.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, channels, blocks, first stride and kernel of every stage."""

TAKEN = (2, 4, 10, 15)
"""Last blocks at strides 4, 8, 16 and 32."""


class EfficientNetLite0(nn.Module):
    """The convolutions of EfficientNet-Lite0 up to the last block, without those to classify."""

    out_channels = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        width = 32
        self.stem = SamePadConv2d(3, width, 3, stride=2)
        blocks = []
        for expansion, channels, count, stride, kernel in _STAGES:
            for index in range(count):
                first = stride if index == 0 else 1
                blocks.append(InvertedResidual(width, channels, first, expansion, kernel))
                width = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to maps at strides 4, 8, 16 and 32, of ``out_channels``.

        Args:
            images: RGB, (pixel - 127) / 128. H and W: multiples of 32.
        """
        maps, x = [], F.relu6(self.stem(images))
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAKEN:
                maps.append(x)
        return maps


class InvertedResidual(nn.Module):
    """Expansion, depth-wise convolution and linear projection, with a shortcut if it fits."""

    def __init__(self, width: int, out: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        hidden = width * expansion
        self.expand = None if expansion == 1 else SamePadConv2d(width, hidden, 1)
        self.depthwise = SamePadConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SamePadConv2d(hidden, out, 1)
        self.shortcut = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to [B, out, H / stride, W / stride]."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.shortcut else y


class SamePadConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "same" pads maps of even size.

    ``before`` and ``after``: zeros at the top and left, and at the bottom and right. With stride 2
    there is one more behind than in front.
    """

    def __init__(
        self, width: int, out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(width, out, kernel, stride, groups=groups)
        self.before = (kernel - stride) // 2
        self.after = kernel - stride - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to [B, out, H / stride, W / stride]."""
        if self.before == self.after:
            pad = (self.before, self.before)
            return F.conv2d(x, self.weight, self.bias, self.stride, pad, groups=self.groups)
        return super().forward(F.pad(x, (self.before, self.after) * 2))
