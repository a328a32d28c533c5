"""Modulated deformable 3x3 convolution (DCNv2) without compiled extensions.

Source: docs/reference/rmpsam.md, section 3.

One operator, three equal computations of the same samples:

- on the CPU in eager mode, a weighted gather of whole pixels (``embedding_bag``): the fastest;
- on other devices and in traced graphs, one GridSample over the nine stacked taps;
- in a layer marked ``as_onnx_operator``, the ONNX operator DeformConv itself, which ONNX Runtime
  (1.25 or newer) executes faster on CPUs; TensorRT and OpenVINO have none. Such a layer can be
  exported, by ``torch.onnx.export`` with opset 19, but not executed.

Sampling positions are kept in float32 or better whatever the precision of the data: half
precision cannot address a feature map to a fraction of a pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 9
"""Kernel taps, row by row: tap k sits at row k // 3 - 1 and column k % 3 - 1."""

DEFORM_CONV_OPSET = 19
"""First ONNX opset that has DeformConv."""


class DeformConv2d(nn.Module):
    """Modulated deformable convolution 3x3, stride 1, padding 1, one group.

    It has no bias unless a normalisation is folded into it.
    """

    bias: nn.Parameter | None

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.xavier_uniform_(self.weight)
        self.register_parameter("bias", None)
        self.as_onnx_operator = False

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve x at displaced positions, each sample scaled by its mask value.

        Args:
            x: [B, C, H, W].
            offset: [B, 18, H, W] in pixels, channel 2k is dy and 2k + 1 is dx of tap k.
            mask: [B, 9, H, W], modulation, like the offset in the precision of x or a higher
                one. Samples outside of x count as zero.

        Returns:
            [B, out_channels, H, W].

        Source: docs/reference/rmpsam.md, section 3, item 3.
        """
        if self.as_onnx_operator:
            return _onnx_deform_conv(x, self.weight, offset, mask, self.bias)
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if x.device.type == "cpu" and not traced:
            return _gather_deform_conv(x, self.weight, offset, mask, self.bias)
        return _grid_sample_deform_conv(x, self.weight, offset, mask, self.bias)


def _sampling_positions(offset: Tensor) -> tuple[Tensor, Tensor]:
    """Return (y, x) pixel positions of all samples, each [B, 9, H, W], float32 or float64."""
    height, width = offset.shape[-2:]
    dtype = torch.promote_types(offset.dtype, torch.float32)
    offset = offset.to(dtype).unflatten(1, (TAPS, 2))
    steps = torch.arange(-1, 2, device=offset.device, dtype=dtype)
    tap_y = steps.repeat_interleave(3).view(TAPS, 1, 1)
    tap_x = steps.repeat(3).view(TAPS, 1, 1)
    rows = torch.arange(height, device=offset.device, dtype=dtype).view(height, 1)
    columns = torch.arange(width, device=offset.device, dtype=dtype)
    return offset[:, :, 0] + (rows + tap_y), offset[:, :, 1] + (columns + tap_x)


def _grid_sample_deform_conv(
    x: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor | None = None
) -> Tensor:
    """GridSample form: the taps of a pixel are stacked along the height, no transposition."""
    channels, height, width = x.shape[1:]
    y_position, x_position = _sampling_positions(offset)
    # align_corners=False is the more exact of the two normalisations.
    grid = torch.stack(
        ((2 * x_position + 1) / width - 1, (2 * y_position + 1) / height - 1), dim=-1
    )
    grid = grid.flatten(1, 2)  # [B, 9 * H, W, 2]
    samples = F.grid_sample(x.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)
    samples = (samples * mask.flatten(1, 2).unsqueeze(1)).to(x.dtype)  # [B, C, 9 * H, W]
    samples = samples.reshape(x.shape[0], channels * TAPS, height, width)
    return F.conv2d(samples, weight.reshape(weight.shape[0], channels * TAPS, 1, 1), bias)


def _gather_deform_conv(
    x: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Gather form: every sample is a weighted sum of four pixels, all channels at once."""
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
    index, share = _bilinear_corners(offset, mask, batch, height, width)
    samples = F.embedding_bag(
        index.reshape(-1, 4),
        pixels,
        per_sample_weights=share.reshape(-1, 4).to(x.dtype),
        mode="sum",
    )
    kernel = weight.permute(2, 3, 1, 0).reshape(TAPS * channels, -1)
    samples = samples.view(-1, TAPS * channels)
    out = samples @ kernel if bias is None else torch.addmm(bias, samples, kernel)
    return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _bilinear_corners(
    offset: Tensor, mask: Tensor, batch: int, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Return index and share of the four pixels around every sample, [B, H, W, 9, 4] each.

    The index counts pixels over the whole batch; the share includes the modulation mask and is
    zero for corners outside of the image.
    """
    y, x = (p.permute(0, 2, 3, 1).unsqueeze(-1) for p in _sampling_positions(offset))
    top, left = y.detach().floor(), x.detach().floor()
    down, right = y - top, x - left
    corner_y = torch.cat((top, top, top + 1, top + 1), dim=-1)
    corner_x = torch.cat((left, left + 1, left, left + 1), dim=-1)
    share = torch.cat((1 - down, 1 - down, down, down), dim=-1)
    share = share * torch.cat((1 - right, right, 1 - right, right), dim=-1)
    inside = (corner_y >= 0) & (corner_y < height) & (corner_x >= 0) & (corner_x < width)
    share = share * mask.permute(0, 2, 3, 1).unsqueeze(-1) * inside
    # Outside corners have no share, so any index will do for them, and for NaN, if it exists.
    index = (corner_y * width + corner_x).long().clamp(0, height * width - 1)
    first = torch.arange(batch, device=offset.device).view(batch, 1, 1, 1, 1) * (height * width)
    return index + first, share


def _onnx_deform_conv(
    x: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor | None
) -> Tensor:
    """Placeholder that the exporter turns into the ONNX operator; its own values are undefined."""
    if bias is None:
        bias = torch.zeros(weight.shape[0], dtype=x.dtype, device=x.device)
    return torch.onnx.ops.symbolic(
        "DeformConv",
        (x, weight, offset, bias, mask),
        attrs={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]},
        dtype=x.dtype,
        shape=(x.shape[0], weight.shape[0], *x.shape[2:]),
        version=DEFORM_CONV_OPSET,
    )
