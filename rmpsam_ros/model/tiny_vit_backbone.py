"""MobileSAM's TinyViT as a backbone of RMP-SAM, alone or with EfficientNet-Lite0 beside it.

TinyViT knows what objects are, and EfficientNet-Lite0, which was trained on ImageNet, more of
their kinds.
Both are small, and their weights are in the package: they stay as they are (frozen, and not
stored a second time), and only what follows them is trained.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.model.efficientnet_lite import EfficientNetLite0
from rmpsam_ros.model.sam.tiny_vit import TinyVit, TinyVitStage
from rmpsam_ros.segmentation.preprocess import MEAN, STD

POSITION_WAVES = 16
"""Cosine waves per axis that tell where in the picture a pixel is."""


class TinyVitBackbone(nn.Module):
    """TinyViT's maps at strides 4, 8, 16 and 32, each normalised per channel.

    The encoder ends at stride 16; stride 16 gets its last two stages, stride 32 a strided
    convolution of the last one. The stride 4 map also carries the position as cosine waves: what
    a trained ResNet knows about position from its borders, a frozen encoder cannot learn, and the
    two linear coordinate channels of the neck can only cut the picture in half planes.
    """

    out_channels = (64 + 2 * POSITION_WAVES, 128, 480, 320)

    # The first layers, which stay float32 where a whole backbone in bf16 is too inaccurate.
    stem = "encoder.layers.0.blocks"

    def __init__(self) -> None:
        super().__init__()
        encoder = TinyVit()
        self.encoder = nn.ModuleDict(
            {"patch_embed": encoder.patch_embed, "layers": encoder.layers}
        )
        self.encoder.requires_grad_(False).eval()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (64, 128, 480))
        self.coarse = nn.Sequential(
            nn.Conv2d(320, 320, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(320)
        )

    def train(self, mode: bool = True) -> TinyVitBackbone:
        """Switch the mode of everything but the frozen encoder."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to c2..c5, [B, out_channels[i], H / s, W / s] at strides 4 to 32."""
        with torch.no_grad():
            fine, medium, coarse, deep = self._stages(images)
        levels = (fine, medium, torch.cat((coarse, deep), dim=1))
        maps = [norm(level) for norm, level in zip(self.norms, levels, strict=True)]
        maps[0] = torch.cat((maps[0], position_waves(maps[0])), dim=1)
        return [*maps, F.relu(self.coarse(deep))]

    def _stages(self, images: Tensor) -> list[Tensor]:
        x = self.encoder["patch_embed"](images)
        maps = []
        for stage in cast(nn.Sequential, self.encoder["layers"]):
            assert isinstance(stage, TinyVitStage)
            x = stage.blocks(x)
            maps.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps


class TinyVitLite0Backbone(TinyVitBackbone):
    """The maps of ``TinyVitBackbone``, each with a projection of EfficientNet-Lite0's added.

    The projections start at zero: the function is that of ``TinyVitBackbone`` before training,
    and weights trained for it are a beginning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lite0 = EfficientNetLite0()
        self.lite0.requires_grad_(False)
        # On the network's device: a graph of a GPU cannot be recorded with copies from the host.
        for name, values in zip(("scale", "shift"), lite0_normalization(), strict=True):
            self.register_buffer(name, values, persistent=False)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width), nn.Conv2d(width, out, 1))
            for width, out in zip(EfficientNetLite0.out_channels, self.out_channels, strict=True)
        )
        for projection in self.projections:
            for tensor in cast(nn.Sequential, projection)[1].parameters():
                nn.init.zeros_(tensor)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to c2..c5, [B, out_channels[i], H / s, W / s] at strides 4 to 32."""
        with torch.no_grad():
            kinds = self.lite0(images * self.get_buffer("scale") + self.get_buffer("shift"))
        return [
            level + project(kind)
            for level, project, kind in zip(
                super().forward(images), self.projections, kinds, strict=True
            )
        ]


def lite0_normalization() -> tuple[Tensor, Tensor]:
    """Return the factor and the summand, [3, 1, 1], from RMP-SAM's pixels to Lite0's."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return (std / 128)[:, None, None], ((mean - 127) / 128)[:, None, None]


def position_waves(maps: Tensor) -> Tensor:
    """Return cos(k pi x) and then cos(k pi y), k = 1 to 16, of all pixels: [B, 32, h, w].

    x and y run from 0 to 1 over the map [B, C, h, w].
    """
    batch, _, height, width = maps.shape
    dtype = torch.promote_types(maps.dtype, torch.float32)
    order = torch.arange(1, POSITION_WAVES + 1, dtype=dtype, device=maps.device)
    waves = []
    for size in (width, height):
        place = (torch.arange(size, dtype=dtype, device=maps.device) + 0.5) / size
        waves.append(torch.cos(torch.pi * order[:, None] * place).to(maps.dtype))
    along_x = waves[0][:, None].expand(-1, height, -1)
    along_y = waves[1][:, :, None].expand(-1, -1, width)
    return torch.cat((along_x, along_y)).expand(batch, -1, -1, -1)
