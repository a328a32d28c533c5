"""The image encoder of RWKV-SAM: two convolution stages, then Vision-RWKV blocks."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmpsam_ros.model.sam.bi_wkv import bi_wkv
from rmpsam_ros.model.sam.layers import LayerNorm2d, sam_neck

NORM_EPS = 1e-6


class Stem(nn.Module):
    """Two 3x3 convolutions: [B, 3, H, W] to [B, width, H/2, W/2]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm1 = LayerNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, width, H / 2, W / 2]."""
        return cast(Tensor, self.conv2(functional.gelu(self.norm1(self.conv1(x)))))


class PooledShortcut(nn.Module):
    """The shortcut of a strided block: average pooling, and a 1x1 convolution to a new width."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, width, H / 2, W / 2]."""
        x = functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return cast(Tensor, self.expand(x))


class PreNormBottleneck(nn.Module):
    """Normalisation, 1x1 to four times the width, depthwise 3x3, 1x1 back, plus the shortcut.

    [B, inputs, H, W] to [B, width, H/stride, W/stride]; nothing follows the sum.
    """

    def __init__(self, inputs: int, width: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = expansion * width
        self.shortcut = PooledShortcut(inputs, width) if stride == 2 else nn.Identity()
        self.pre_norm = LayerNorm2d(inputs)
        self.conv1_1x1 = nn.Conv2d(inputs, hidden, 1)
        self.conv2_kxk = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden)
        self.conv3_1x1 = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        y = functional.gelu(self.conv1_1x1(self.pre_norm(x)))
        y = self.conv3_1x1(functional.gelu(self.conv2_kxk(y)))
        return cast(Tensor, y + self.shortcut(x))


class Transition(nn.Module):
    """From the convolution stages to the token stage: half the size, new width."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(inputs)
        self.proj = nn.Conv2d(inputs, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, width, H / 2, W / 2]."""
        return cast(Tensor, self.proj(self.norm(x)))


def q_shift(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Give every token a quarter of the channels of each of its four neighbours (Eq. 2).

    `tokens` [B, H * W, C] of a map of `size` (H, W), row by row. First quarter from the left
    neighbour, then right, upper, lower; zeros beyond the border.
    """
    channels = tokens.shape[-1]
    quarters = [0, channels // 4, channels // 2, 3 * channels // 4, channels]
    left, right, up, down = (tokens.unflatten(1, size)[..., a:b] for a, b in pairwise(quarters))
    shifted = [
        functional.pad(left[:, :, :-1], (0, 0, 1, 0)),
        functional.pad(right[:, :, 1:], (0, 0, 0, 1)),
        functional.pad(up[:, :-1], (0, 0, 0, 0, 1, 0)),
        functional.pad(down[:, 1:], (0, 0, 0, 0, 0, 1)),
    ]
    return torch.cat(shifted, dim=-1).flatten(1, 2)


def _mixed(tokens: Tensor, shifted: Tensor, share: Tensor) -> Tensor:
    """`share` of the tokens themselves, the rest of their neighbours."""
    return shifted + share * (tokens - shifted)


class SpatialMix(nn.Module):
    """Mixes tokens over the whole map by gated Bi-WKV attention (Eqs. 1, 3, 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial_decay = nn.Parameter(torch.linspace(-5, 3, width))
        self.spatial_first = nn.Parameter(torch.full((width,), -1.0))
        self.spatial_mix_k = nn.Parameter(torch.full((1, 1, width), 0.5))
        self.spatial_mix_v = nn.Parameter(torch.full((1, 1, width), 0.5))
        self.spatial_mix_r = nn.Parameter(torch.full((1, 1, width), 0.5))
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.receptance = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Mix tokens [B, H * W, width] of a map of size (H, W); the same shape comes out."""
        shifted = q_shift(tokens, size)
        key = self.key(_mixed(tokens, shifted, self.spatial_mix_k))
        value = self.value(_mixed(tokens, shifted, self.spatial_mix_v))
        gate = torch.sigmoid(self.receptance(_mixed(tokens, shifted, self.spatial_mix_r)))
        attended = bi_wkv(self.spatial_decay, self.spatial_first, key, value)
        return cast(Tensor, self.output(gate * attended))


class ChannelMix(nn.Module):
    """Mixes the channels of a token and its neighbours, gated, with squared ReLU (Eq. 5)."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.spatial_mix_k = nn.Parameter(torch.full((1, 1, width), 0.5))
        self.spatial_mix_r = nn.Parameter(torch.full((1, 1, width), 0.5))
        self.key = nn.Linear(width, ratio * width, bias=False)
        self.receptance = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(ratio * width, width, bias=False)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Mix channels of tokens [B, H * W, width] of a map of size (H, W); same shape."""
        shifted = q_shift(tokens, size)
        hidden = torch.relu(self.key(_mixed(tokens, shifted, self.spatial_mix_k))).square()
        gate = torch.sigmoid(self.receptance(_mixed(tokens, shifted, self.spatial_mix_r)))
        return gate * self.value(hidden)


class RwkvBlock(nn.Module):
    """Spatial mix, then channel mix, each behind a normalisation and a learnt scale."""

    def __init__(self, width: int, ratio: int = 2, initial_scale: float = 1e-2) -> None:
        super().__init__()
        self.layer_scale_1 = nn.Parameter(torch.full((width,), initial_scale))
        self.layer_scale_2 = nn.Parameter(torch.full((width,), initial_scale))
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = SpatialMix(width)
        self.mlp = ChannelMix(width, ratio)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Refine tokens [B, H * W, width] of a map of size (H, W); the same shape comes out."""
        tokens = tokens + self.layer_scale_1 * self.attn(self.norm1(tokens), size)
        return tokens + self.layer_scale_2 * self.mlp(self.norm2(tokens), size)


class RwkvBackbone(nn.Module):
    """Maps of stride 4, 8 and 16 of an image whose sides are multiples of 16.

    `widths` (c1, c2, c3) are the channels of the three maps. `position_grid` (rows, columns) adds
    a learnt table of positions, resized to the map at hand; published settings have none.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        depths: tuple[int, int, int] = (2, 4, 14),
        position_grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        c1, c2, c3 = widths
        self.stem = Stem(c1)
        self.conv_stages = nn.ModuleList(
            nn.Sequential(
                PreNormBottleneck(inputs, width, 2),
                *(PreNormBottleneck(width, width, 1) for _ in range(depth - 1)),
            )
            for inputs, width, depth in ((c1, c1, depths[0]), (c1, c2, depths[1]))
        )
        self.conv_final_pool = Transition(c2, c3)
        self.position_grid = position_grid
        if position_grid is not None:
            cells = position_grid[0] * position_grid[1]
            self.pos_embed = nn.Parameter(torch.zeros(1, cells, c3))
        self.layers = nn.ModuleList(RwkvBlock(c3) for _ in range(depths[2]))
        self.final_norm = nn.LayerNorm(c3, eps=NORM_EPS)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, H, W] to [B, c1, H/4, W/4], [B, c2, H/8, W/8], [B, c3, H/16, W/16]."""
        high = self.conv_stages[0](self.stem(images))
        middle = self.conv_stages[1](high)
        last = self.conv_final_pool(middle)
        size = (last.shape[2], last.shape[3])
        tokens = last.flatten(2).transpose(1, 2)
        if self.position_grid is not None:
            tokens = tokens + self.positions(size)
        for layer in self.layers:
            tokens = layer(tokens, size)
        tokens = self.final_norm(tokens)
        return high, middle, tokens.transpose(1, 2).unflatten(2, size)

    def positions(self, size: tuple[int, int]) -> Tensor:
        """The table of positions [1, H * W, c3] for a map of this size."""
        if self.position_grid is None:
            raise ValueError("this backbone was built without a table of positions")
        if size == self.position_grid:
            return self.pos_embed
        table = self.pos_embed.transpose(1, 2).unflatten(2, self.position_grid)
        table = functional.interpolate(table, size, mode="bicubic", align_corners=False)
        return table.flatten(2).transpose(1, 2)


class RwkvEncoder(nn.Module):
    """Backbone and neck: image features [B, 256, H/16, W/16] and the two finer maps."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.backbone = RwkvBackbone(widths)
        self.neck = sam_neck(widths[2])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, then the maps of stride 4 [B, c1, ...] and stride 8 [B, c2, ...]."""
        high, middle, last = self.backbone(images)
        return self.neck(last), high, middle
