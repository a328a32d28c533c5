"""All of what a new backbone takes: the modules, and a network that is made with it."""

from torch import Tensor, nn

from rmpsam_ros.model.backbones import BACKBONES
from rmpsam_ros.model.configs import MODEL_CONFIGS, ModelConfig


class ToyBackbone(nn.Module):
    """Four convolutions."""

    out_channels = (16, 24, 32, 40)

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *self.out_channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[k], widths[k + 1], 4 if k == 0 else 2, stride=4 if k == 0 else 2)
            for k in range(4)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images [B, 3, H, W] to maps at strides 4, 8, 16 and 32."""
        maps = []
        x = images
        for conv in self.convs:
            x = conv(x).relu()
            maps.append(x)
        return tuple(maps)


BACKBONES["toy"] = ToyBackbone
MODEL_CONFIGS["rmpsam_toy"] = ModelConfig("toy")
