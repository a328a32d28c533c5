"""RepViT-M2.3, the image encoder of RepViT-SAM; convolutions only."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmpsam_ros.model.folding import norm_as_affine, with_weights
from rmpsam_ros.model.sam.layers import ConvNorm, sam_neck


class RepDepthwise(nn.Module):
    """Three parallel branches that fold into one depthwise 3x3 convolution (RepViT, Sec. 3).

    Computes norm(dw3x3(x) + dw1x1(x) + x), with a normalisation of its own behind the 3x3 branch;
    [B, width, H, W] both ways.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = ConvNorm(width, width, 3, groups=width)
        self.conv1 = nn.Conv2d(width, width, 1, groups=width)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix every channel of [B, width, H, W] over 3x3 pixels; the same shape comes out."""
        return cast(Tensor, self.bn(self.conv(x) + self.conv1(x) + x))

    def fold(self) -> nn.Conv2d:
        """The single convolution that computes the same in eval mode."""
        wide = self.conv.fold()
        # The other two branches read only the centre, so zero padding does not matter to them.
        centre = functional.pad(self.conv1.weight + 1, (1, 1, 1, 1))
        bias = cast(Tensor, wide.bias) + cast(Tensor, self.conv1.bias)
        scale, offset = norm_as_affine(self.bn)
        weight = (wide.weight + centre) * scale.reshape(-1, 1, 1, 1)
        return with_weights(wide, weight, bias * scale + offset)


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from all channel means; [B, width, H, W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        reduced = 8 * ((width // 4 + 4) // 8)  # a quarter, to the nearest multiple of 8
        self.fc1 = nn.Conv2d(width, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Gate the channels of [B, width, H, W]; the same shape comes out."""
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # a sum over a whole map
        gate = self.fc2(torch.relu(self.fc1(exact.mean((2, 3), keepdim=True).to(x.dtype))))
        return x * torch.sigmoid(gate)


class ChannelMixer(nn.Module):
    """Residual 1x1 convolutions to twice the width and back; [B, width, H, W] both ways."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.m = nn.Sequential(ConvNorm(width, 2 * width), nn.GELU(), ConvNorm(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of [B, width, H, W]; the same shape comes out."""
        return x + self.m(x)


class RepVitBlock(nn.Module):
    """Token mixer (spatial, no residual of its own), then channel mixer."""

    def __init__(self, token_mixer: nn.Sequential, width: int) -> None:
        super().__init__()
        self.token_mixer = token_mixer
        self.channel_mixer = ChannelMixer(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        return cast(Tensor, self.channel_mixer(self.token_mixer(x)))


def keeping_block(width: int, squeeze: bool) -> RepVitBlock:
    """A block that keeps width and size, with or without squeeze-and-excite."""
    gate = SqueezeExcite(width) if squeeze else nn.Identity()
    return RepVitBlock(nn.Sequential(RepDepthwise(width), gate), width)


def widening_block(inputs: int, width: int, stride: int) -> RepVitBlock:
    """The block that starts a stage: new width and, at stride 2, half the size."""
    token_mixer = nn.Sequential(
        ConvNorm(inputs, inputs, 3, stride, groups=inputs),
        nn.Identity(),  # the place of a squeeze-and-excite in other RepViT sizes
        ConvNorm(inputs, width),
    )
    return RepVitBlock(token_mixer, width)


class RepVit(nn.Module):
    """The encoder of RepViT-SAM: [B, 3, H, W] to [B, 256, H/16, W/16], sizes multiples of 16.

    The last stage keeps the size, so that the result has the stride that SAM's decoder expects.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (80, 160, 320, 640),
        depths: tuple[int, ...] = (7, 7, 35, 2),
        strides: tuple[int, ...] = (2, 2, 1),
    ) -> None:
        super().__init__()
        first = widths[0]
        blocks: list[nn.Module] = [
            nn.Sequential(
                ConvNorm(3, first // 2, 3, 2), nn.GELU(), ConvNorm(first // 2, first, 3, 2)
            )
        ]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                blocks.append(widening_block(widths[stage - 1], width, strides[stage - 1]))
            blocks += [
                keeping_block(width, squeeze=i % 2 == 0 and i < depth - 1) for i in range(depth)
            ]
        self.features = nn.Sequential(*blocks)
        self.neck = sam_neck(widths[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Encode images [B, 3, H, W] as [B, 256, H / 16, W / 16]."""
        return cast(Tensor, self.neck(self.features(images)))
