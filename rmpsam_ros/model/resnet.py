"""ResNet-18 and ResNet-50 feature extractors (docs/reference/rmpsam.md, section 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.model.folding import conv_with_norm, fold_batch_norm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (ResNet-18)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, width, H/stride, W/stride]."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut, inplace=True)

    def fold(self) -> BasicBlock:
        """Put the normalisations into the convolutions, in place."""
        _fold_pairs(self, 2)
        return self


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; the stride sits on the 3x3 (ResNet-50)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, 4 * width, H/stride, W/stride]."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut, inplace=True)

    def fold(self) -> Bottleneck:
        """Put the normalisations into the convolutions, in place."""
        _fold_pairs(self, 3)
        return self


def _fold_pairs(module: nn.Module, count: int) -> None:
    """Fold bn1 into conv1, and so on, and whatever there is to fold further inside."""
    for index in range(1, count + 1):
        conv, norm = getattr(module, f"conv{index}"), getattr(module, f"bn{index}")
        if isinstance(norm, nn.BatchNorm2d):
            conv_with_norm(conv, norm)
            setattr(module, f"bn{index}", nn.Identity())
    fold_batch_norm(module)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Projection for the shortcut where the shape changes, else None (identity)."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


_ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    50: (Bottleneck, (3, 4, 6, 3)),
}


class ResNet(nn.Module):
    """ResNet without the classification layer; keys equal the usual ImageNet checkpoints."""

    # Its activations can be stored in eight bits: nothing but convolutions and ReLUs.
    has_int8 = True

    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth not in _ARCHITECTURES:
            raise ValueError(f"ResNet depth {depth} is not available; use one of 18, 50")
        block, block_counts = _ARCHITECTURES[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        layers = []
        out_channels = []
        for level, count in enumerate(block_counts):
            width = 64 * 2**level
            strides = [1 if level == 0 else 2] + [1] * (count - 1)
            blocks = []
            for stride in strides:
                blocks.append(block(channels, width, stride))
                channels = width * block.expansion
            layers.append(nn.Sequential(*blocks))
            out_channels.append(channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.out_channels = tuple(out_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return c2..c5, the feature maps at strides 4, 8, 16 and 32, of [B, 3, H, W] images."""
        # The largest of four is the same before and after a ReLU, which then costs a quarter.
        x = F.relu(self.maxpool(self.bn1(self.conv1(images))), inplace=True)
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return c2, c3, c4, c5

    def fold(self) -> ResNet:
        """Put the normalisations into the convolutions, in place."""
        _fold_pairs(self, 1)
        return self
