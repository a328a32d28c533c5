"""EfficientNet-Lite0 as the only backbone of RMP-SAM, trained with the rest of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rmpsam_ros.model.efficientnet_lite import EfficientNetLite0
from rmpsam_ros.model.tiny_vit_backbone import POSITION_WAVES, lite0_normalization, position_waves


class Lite0Backbone(nn.Module):
    """EfficientNet-Lite0's maps at strides 4, 8, 16 and 32; the first also carries the position.

    Its batch norms are folded into the convolutions, and its last layers are linear: the neck
    takes the maps as they are. The cosine waves of the position are those of
    ``TinyVitBackbone``.
    """

    out_channels = (
        EfficientNetLite0.out_channels[0] + 2 * POSITION_WAVES,
        *EfficientNetLite0.out_channels[1:],
    )

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        for name, values in zip(("scale", "shift"), lite0_normalization(), strict=True):
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to c2..c5, [B, out_channels[i], H / s, W / s] at strides 4 to 32."""
        maps = self.trunk(images * self.get_buffer("scale") + self.get_buffer("shift"))
        maps[0] = torch.cat((maps[0], position_waves(maps[0])), dim=1)
        return maps
