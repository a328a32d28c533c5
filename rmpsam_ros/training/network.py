"""The network of the demo model: RMP-SAM behind MobileSAM's image encoder.

MobileSAM's TinyViT knows what objects are, is small, and its weights are in the box anyway, so
it stays as it is (frozen, and not stored a second time); neck, decoder and adapters are trained.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import cast

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.model import MODEL_CONFIGS, RmpSam, build_model
from rmpsam_ros.model.neck import Neck
from rmpsam_ros.model.sam.tiny_vit import TinyVit, TinyVitStage

TINY_VIT = "rmpsam_tiny_vit"
FROZEN_PREFIX = "backbone.encoder."


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


def position_waves(maps: Tensor) -> Tensor:
    """Return cos(k pi x) and then cos(k pi y), k = 1 to 16, of all pixels: [B, 32, h, w].

    x and y run from 0 to 1 over the map [B, C, h, w].
    """
    batch, _, height, width = maps.shape
    order = torch.arange(1, POSITION_WAVES + 1, dtype=maps.dtype, device=maps.device)
    waves = []
    for size in (width, height):
        place = (torch.arange(size, dtype=maps.dtype, device=maps.device) + 0.5) / size
        waves.append(torch.cos(torch.pi * order[:, None] * place))
    along_x = waves[0][:, None].expand(-1, height, -1)
    along_y = waves[1][:, :, None].expand(-1, -1, width)
    return torch.cat((along_x, along_y)).expand(batch, -1, -1, -1)


class TinyVitRmpSam(RmpSam):
    """RMP-SAM with ``TinyVitBackbone`` in the place of the ResNet."""

    def __init__(self) -> None:
        numbers = asdict(MODEL_CONFIGS["rmpsam_r18"])
        super().__init__(**numbers)
        self.backbone = TinyVitBackbone()  # type: ignore[assignment]
        self.neck = Neck(TinyVitBackbone.out_channels, numbers["aggregation_dim"], self.dim)

    def features(self, images: Tensor) -> Tensor:
        """Return the feature map F, [B, 256, H/4, W/4], of normalised images [B, 3, H, W]."""
        return self.neck(self.backbone(images))


def build_network(name: str, text_embeddings: Tensor, encoder_weights: Path | None) -> RmpSam:
    """Build the network that a training configuration names, in training mode.

    name: a key of ``MODEL_CONFIGS``, or ``rmpsam_tiny_vit``.
    encoder_weights: file of MobileSAM, which the TinyViT network needs.
    """
    if name != TINY_VIT:
        return build_model(name, text_embeddings).train()
    if encoder_weights is None:
        raise ValueError(f"network {TINY_VIT!r} needs 'encoder_weights', a MobileSAM checkpoint")
    network = TinyVitRmpSam()
    network.set_vocabulary(text_embeddings)
    load_encoder(network, encoder_weights)
    return network.train()


def load_encoder(network: RmpSam, path: Path) -> None:
    """Fill the frozen encoder with the image encoder of a MobileSAM checkpoint."""
    if path.suffix == ".safetensors":
        tensors = safetensors.torch.load_file(path)
    else:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    own = network.state_dict()
    keys = {key: "image_encoder." + key.removeprefix(FROZEN_PREFIX)
            for key in own if key.startswith(FROZEN_PREFIX)}
    for key, source in keys.items():
        if source not in tensors or tensors[source].shape != own[key].shape:
            raise ValueError(f"'{path}' has no fitting {source!r}; is it a MobileSAM checkpoint?")
    with torch.no_grad():
        for key, source in keys.items():
            own[key].copy_(tensors[source])


def make_class_table(num_classes: int, seed: int, dim: int = 768, spread: float = 0.5) -> Tensor:
    """Return a class table [C, 1, dim] of unit vectors, equally far from one another.

    Every vector is the same direction plus ``spread`` times one of its own, all orthogonal: like
    text embeddings, which have much in common, so that "an object" is one direction.
    """
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(dim, num_classes + 1, generator=generator)).Q.T
    common, own = basis[:1], basis[1:]
    return ((1 - spread**2) ** 0.5 * common + spread * own).unsqueeze(1)
