"""TinyViT-5M, the image encoder of MobileSAM."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmpsam_ros.model.folding import linear
from rmpsam_ros.model.sam.layers import ConvNorm, sam_neck

HEAD_WIDTH = 32


class InvertedBottleneck(nn.Module):
    """1x1 convolution to four times the width, depthwise 3x3, 1x1 back; then the shortcut.

    Input and output [B, width, H, W]. The last activation comes after the sum.
    """

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = expansion * width
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Refine [B, width, H, W]; the same shape comes out."""
        y = functional.gelu(self.conv1(x))
        y = functional.gelu(self.conv2(y))
        return functional.gelu(x + self.conv3(y))


class PatchMerging(nn.Module):
    """New width and, at stride 2, half the size: [B, C, H, W] to [B, width, H/s, W/s]."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, width)
        self.conv2 = ConvNorm(width, width, 3, stride, groups=width)
        self.conv3 = ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        x = functional.gelu(self.conv1(x))
        x = functional.gelu(self.conv2(x))
        return cast(Tensor, self.conv3(x))


class WindowAttention(nn.Module):
    """Attention among the cells of one window, with a learnt bias for every absolute offset.

    Input and output [windows, side * side, width]; the layer normalisation is part of it.
    """

    offset_index: Tensor

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))
        # Offsets are numbered |dy| * side + |dx|.
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        y, x = y.flatten(), x.flatten()
        index = (y[:, None] - y).abs() * side + (x[:, None] - x).abs()
        self.register_buffer("offset_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within windows [windows, side * side, width]; the same shape comes out."""
        qkv = self.qkv(self.norm(x)).unflatten(-1, (self.heads, 3, -1))
        q, k, v = qkv.permute(3, 0, 2, 1, 4).unbind(0)  # [windows, heads, cells, 32] each
        # Expanded at every call: a table cached in eval mode would survive a later load.
        bias = self.attention_biases[:, self.offset_index]
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        return cast(Tensor, self.proj(out.transpose(1, 2).flatten(2)))

    def inference_form(self) -> "FoldedWindowAttention":
        """The same with everything that does not depend on the cells computed before."""
        return FoldedWindowAttention(self)


class FoldedWindowAttention(nn.Module):
    """`WindowAttention` with expanded offsets and scaled queries; logits are float32 or better."""

    offsets: Tensor

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.heads, width = attention.heads, attention.proj.out_features
        depth = width // self.heads
        self.norm, self.proj = attention.norm, attention.proj
        # Every head has its query, key and value together; here all queries come first.
        scale = torch.tensor([depth**-0.5, 1.0, 1.0]).to(attention.qkv.weight).reshape(3, 1, 1)
        weight = attention.qkv.weight.reshape(self.heads, 3, depth, width) * scale
        bias = attention.qkv.bias.reshape(self.heads, 3, depth) * scale[:, 0]
        self.qkv = linear(
            weight.transpose(0, 1).reshape(-1, width).detach(),
            bias.transpose(0, 1).flatten().detach(),
        )
        offsets = attention.attention_biases[:, attention.offset_index]
        self.register_buffer("offsets", offsets.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within windows [windows, cells, width]; the same shape comes out."""
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3 * self.heads, -1)).transpose(1, 2)
        q, k, v = qkv.chunk(3, dim=1)  # [windows, heads, cells, 32] each
        logits = (q @ k.transpose(-2, -1)).to(self.offsets.dtype) + self.offsets
        out = logits.softmax(dim=-1).to(v.dtype) @ v
        return cast(Tensor, self.proj(out.transpose(1, 2).flatten(2)))

    def exact_parts(self, dtype: torch.dtype) -> tuple[str, ...]:
        """Name the parts that stay in float32 when the others are converted."""
        return ("offsets",)


class TokenMlp(nn.Module):
    """Layer normalisation, then two linear layers with GELU between; [..., width] both ways."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [..., width] to the same shape, without the residual."""
        return cast(Tensor, self.fc2(functional.gelu(self.fc1(self.norm(x)))))


class TinyVitBlock(nn.Module):
    """Window attention, a depthwise convolution without residual, MLP; [B, width, H, W]."""

    def __init__(self, width: int, heads: int, window: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = TokenMlp(width, mlp_ratio * width)

    def forward(self, x: Tensor) -> Tensor:
        """Refine [B, width, H, W]; the same shape comes out."""
        cells = x.permute(0, 2, 3, 1)  # [B, H, W, width]
        windows, padded = split_windows(cells, self.window)
        cells = cells + join_windows(self.attn(windows), self.window, padded, cells.shape)
        x = self.local_conv(cells.permute(0, 3, 1, 2))
        cells = x.permute(0, 2, 3, 1)
        return (cells + self.mlp(cells)).permute(0, 3, 1, 2)


def split_windows(cells: Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Cut a map [B, H, W, C] into windows [B * windows, side * side, C].

    The map is filled with zeros to whole windows at the right and at the bottom; the filling takes
    part in the attention, as the weights expect. Also returns the filled height and width.
    """
    batch, height, width, channels = cells.shape
    # The exporter writes divisions that round towards zero: none of negative numbers.
    rows, columns = (height + side - 1) // side, (width + side - 1) // side
    cells = functional.pad(cells, (0, 0, 0, columns * side - width, 0, rows * side - height))
    cells = cells.reshape(batch, rows, side, columns, side, channels)
    windows = cells.transpose(2, 3).reshape(-1, side * side, channels)
    return windows, (rows * side, columns * side)


def join_windows(windows: Tensor, side: int, padded: tuple[int, int], shape: torch.Size) -> Tensor:
    """Undo `split_windows`: windows back to a map of this shape [B, H, W, C]."""
    batch, height, width, channels = shape
    rows, columns = padded[0] // side, padded[1] // side
    cells = windows.reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
    return cells.reshape(batch, *padded, channels)[:, :height, :width]


class TinyVitStage(nn.Module):
    """Blocks of one width, then the merging that leads to the next stage, if there is one."""

    def __init__(self, blocks: list[nn.Module], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to the next stage's [B, width, H / s, W / s], or keep the shape."""
        x = self.blocks(x)
        return x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """Two strided convolutions: [B, 3, H, W] to [B, width, H/4, W/4]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3, H, W] to [B, width, H / 4, W / 4]."""
        return cast(Tensor, self.seq(x))


class TinyVit(nn.Module):
    """The encoder of MobileSAM: [B, 3, H, W] to [B, 256, H/16, W/16], sizes multiples of 16.

    The last merging keeps the size, so that the result has the stride that SAM's decoder expects.
    `norm_head` and `head` are the ImageNet classifier of the published checkpoint: never run, kept
    so that the checkpoint goes in and out key for key.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (64, 128, 160, 320),
        depths: tuple[int, int, int, int] = (2, 2, 6, 2),
        windows: tuple[int, int, int] = (7, 14, 7),
        merge_strides: tuple[int, int, int] = (2, 2, 1),
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(widths[0])
        self.layers = nn.Sequential()
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks: list[nn.Module] = [
                TinyVitBlock(width, width // HEAD_WIDTH, windows[i - 1])
                if i
                else InvertedBottleneck(width)
                for _ in range(depth)
            ]
            merging = PatchMerging(width, widths[i + 1], merge_strides[i]) if i < 3 else None
            self.layers.append(TinyVitStage(blocks, merging))
        self.norm_head = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], classes)
        self.neck = sam_neck(widths[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Encode images [B, 3, H, W] as [B, 256, H / 16, W / 16]."""
        return cast(Tensor, self.neck(self.layers(self.patch_embed(images))))
