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
from rmpsam_ros.model.folding import conv_with_norm, norm_as_affine


class DeformableUpsample(nn.Module):
    """Deformable convolution followed by a transposed convolution that doubles the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.offset_conv = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        self.deform_conv = DeformConv2d(in_channels, out_channels)
        self.deform_norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.upsample_conv = nn.ConvTranspose2d(
            out_channels, out_channels, 4, stride=2, padding=1, bias=False
        )
        self.upsample_norm: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, 2H, 2W], not negative."""
        sampling = self.offset_conv(x.to(self.offset_conv.weight.dtype))
        offset, mask = sampling.split((2 * TAPS, TAPS), dim=1)
        x = self.deform_conv(x, offset, mask.sigmoid())
        x = F.relu(self.deform_norm(x), inplace=True)
        larger = self.upsample_conv(x.to(self.upsample_conv.weight.dtype)).to(x.dtype)
        return F.relu(self.upsample_norm(larger), inplace=True)

    def fold(self) -> DeformableUpsample:
        """Put the normalisations into the convolutions, in place."""
        if isinstance(self.deform_norm, nn.BatchNorm2d):
            assert isinstance(self.upsample_norm, nn.BatchNorm2d)
            scale, offset = norm_as_affine(self.deform_norm)
            weight = self.deform_conv.weight * scale.reshape(-1, 1, 1, 1)
            self.deform_conv.weight = nn.Parameter(weight.detach())
            self.deform_conv.bias = nn.Parameter(offset.detach())
            self.deform_norm = nn.Identity()
            conv_with_norm(self.upsample_conv, self.upsample_norm)
            self.upsample_norm = nn.Identity()
        return self

    def exact_parts(self, dtype: torch.dtype) -> tuple[str, ...]:
        """Name the parts that stay in float32 when the others are converted to ``dtype``.

        Sampling positions are fractions of a pixel; TensorRT has no transposed convolution in
        bfloat16.
        """
        return ("offset_conv", "upsample_conv")[: 1 + (dtype == torch.bfloat16)]


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
        self.location_conv: nn.Conv2d | None = nn.Conv2d(aggregation_dim + 2, out_dim, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the feature map F, [B, out_dim, H/4, W/4], of the backbone maps c2..c5."""
        if self.location_conv is None:
            return self.compact(levels)
        fused = self._fused(levels)
        return self.location_conv(torch.cat((fused, _coordinates(fused)), dim=1))

    def compact(self, levels: Sequence[Tensor]) -> Tensor:
        """Return what ``lift`` makes F of, [B, A + 3, H/4, W/4] in float32 or better."""
        fused = self._fused(levels)
        fused = fused.to(torch.promote_types(fused.dtype, torch.float32))
        place = _coordinates(fused)
        return torch.cat((fused, place, torch.ones_like(place[:, :1])), dim=1)

    def lift(self) -> Tensor:
        """Return the last convolution as a matrix, [d, A + 3]: F is it times compact features."""
        conv = self.location_conv
        assert conv is not None and conv.bias is not None
        return torch.cat((conv.weight[:, :, 0, 0], conv.bias[:, None]), dim=1)

    def take_lift(self) -> Tensor:
        """Give up the last convolution, in place, and return it as a matrix, [d, A + 3].

        It is linear and 1x1: F = W [G, x, y] + b at every pixel, with A = 128 channels of G
        against d = 256 of F. From now on ``forward`` gives compact features [G, x, y, 1], in
        float32 or better, and F is the matrix times these (see ``Pixels``).
        """
        lift = self.lift().detach()
        self.location_conv = None
        return lift

    def _fused(self, levels: Sequence[Tensor]) -> Tensor:
        """Return G, [B, A, H/4, W/4]."""
        return self.output_conv(self._aggregate(self._top_down(levels[::-1])))

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
    # The exporter takes the size out of a linspace, and everything would be for one size.
    x = torch.arange(width, dtype=dtype, device=device) * (2 / (width - 1)) - 1
    y = torch.arange(height, dtype=dtype, device=device) * (2 / (height - 1)) - 1
    grid = torch.stack((x.expand(height, width), y.unsqueeze(1).expand(height, width)))
    return grid.expand(batch, 2, height, width)
