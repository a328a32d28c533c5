"""Lite deformable feature pyramid with coordinate channels.

Source: docs/reference/rmpsam.md, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.model.deform_conv import TAPS, DeformConv2d


class DeformableUpsample(nn.Module):
    """Deformable convolution followed by a transposed convolution that doubles the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.offset_conv = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        self.deform_conv = DeformConv2d(in_channels, out_channels)
        self.deform_norm = nn.BatchNorm2d(out_channels)
        self.upsample_conv = nn.ConvTranspose2d(
            out_channels, out_channels, 4, stride=2, padding=1, bias=False
        )
        self.upsample_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, 2H, 2W], not negative."""
        offset, mask = self.offset_conv(x).split((2 * TAPS, TAPS), dim=1)
        x = self.deform_conv(x, offset, mask.sigmoid())
        x = F.relu(self.deform_norm(x), inplace=True)
        return F.relu(self.upsample_norm(self.upsample_conv(x)), inplace=True)


class Neck(nn.Module):
    """Fuse c2..c5 into one map at stride 4.

    Lists run from the coarsest level to the finest.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        aggregation_dim: int,
        out_dim: int,
        widths: Sequence[int] = (),
    ) -> None:
        """``in_channels`` and ``widths``: of c2..c5 and p2..p5; without widths half as many."""
        super().__init__()
        sources = list(in_channels)[::-1]
        widths = list(widths)[::-1] or [channels // 2 for channels in sources]
        self.lateral_convs = nn.ModuleList(
            nn.Conv2d(source, width, 1) for source, width in zip(sources, widths, strict=True)
        )
        self.upsamples = nn.ModuleList(
            DeformableUpsample(coarse, fine) for coarse, fine in pairwise(widths)
        )
        self.aggregation_convs = nn.ModuleList(
            nn.Conv2d(width, aggregation_dim, 1, bias=False) for width in widths
        )
        self.aggregation_bias = nn.Parameter(torch.zeros(1, aggregation_dim, 1, 1))
        self.output_conv = nn.Conv2d(aggregation_dim, aggregation_dim, 3, padding=1)
        self.location_conv = nn.Conv2d(aggregation_dim + 2, out_dim, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the feature map F, [B, out_dim, H/4, W/4], of the backbone maps c2..c5."""
        fused = self.output_conv(self._aggregate(self._top_down(levels[::-1])))
        return self.location_conv(torch.cat((fused, _coordinates(fused)), dim=1))

    def _top_down(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return p5..p2: lateral convolution plus the upsampled level above."""
        pyramid = [self.lateral_convs[0](levels[0])]
        for level, lateral, upsample in zip(
            levels[1:], self.lateral_convs[1:], self.upsamples, strict=True
        ):
            pyramid.append(lateral(level) + upsample(pyramid[-1]))
        return pyramid

    def _aggregate(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Sum all levels at stride 4, [B, aggregation_dim, H/4, W/4]."""
        maps = [conv(level) for conv, level in zip(self.aggregation_convs, pyramid, strict=True)]
        # Interpolation keeps a constant, so the bias is added where the map is smallest.
        maps[0] = maps[0] + self.aggregation_bias
        total = maps[-1]
        for level, coarse in enumerate(maps[:-1]):
            factor = 2 ** (len(maps) - 1 - level)
            total = total + F.interpolate(
                coarse, scale_factor=factor, mode="bilinear", align_corners=False
            )
        return total


def _coordinates(features: Tensor) -> Tensor:
    """Return [B, 2, h, w]: x along the width, then y along the height, each from -1 to +1."""
    batch, _, height, width = features.shape
    dtype, device = features.dtype, features.device
    x = torch.linspace(-1, 1, width, dtype=dtype, device=device)
    y = torch.linspace(-1, 1, height, dtype=dtype, device=device)
    grid = torch.stack((x.expand(height, width), y.unsqueeze(1).expand(height, width)))
    return grid.expand(batch, 2, height, width)
