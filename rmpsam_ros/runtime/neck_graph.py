"""The deformable feature pyramid as an ONNX graph (reference section 3).

The graph ends before the last, linear 1x1 convolution of the neck: see `feature_lift`.
"""

from collections.abc import Sequence

import numpy as np
from torch import nn

from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.deform_conv import TAPS
from rmpsam_ros.model.neck import DeformableUpsample, Neck
from rmpsam_ros.runtime.graph_builder import Weights, array, expect
from rmpsam_ros.runtime.layer_graph import LayerWriter, scale_and_bias

TAP_ROWS = np.arange(TAPS) // 3 - 1
TAP_COLUMNS = np.arange(TAPS) % 3 - 1


class NeckGraph:
    """Writes one neck. Its output decides on every mask's border: it is never quantised."""

    def __init__(self, layers: LayerWriter, neck: Neck) -> None:
        self._layers = layers
        self._neck = neck

    def write(self, levels: Sequence[str]) -> str:
        """Return the compact features, [B, A + 3, h, w] float32, of c2 to c5."""
        neck = self._neck
        laterals = []
        for level, module in zip(levels[::-1], neck.lateral_convs, strict=True):
            conv = expect(module, nn.Conv2d)
            laterals.append(
                self._layers.conv(level, array(conv.weight), array(conv.bias), quantized=False)
            )
        pyramid = laterals[:1]
        for lateral, module in zip(laterals[1:], neck.upsamples, strict=True):
            above = self._upsample(pyramid[-1], expect(module, DeformableUpsample))
            pyramid.append(self._layers.graph.op("Add", lateral, above))
        total = self._aggregate(pyramid)
        output = neck.output_conv
        fused = self._layers.conv(total, array(output.weight), array(output.bias))
        return self._with_coordinates(self._layers.to_float(fused))

    def _aggregate(self, pyramid: Sequence[str]) -> str:
        """Sum all levels, coarsest first, at the size of the finest."""
        total = ""
        bias = array(self._neck.aggregation_bias).reshape(-1)
        for level, module in zip(
            pyramid[::-1], reversed(self._neck.aggregation_convs), strict=True
        ):
            x = self._layers.conv(level, array(expect(module, nn.Conv2d).weight), bias)
            if not total:
                total, bias, factor = x, np.zeros_like(bias), 2.0
                continue
            x = self._layers.graph.op(
                "Resize",
                x,
                "",
                self._layers.graph.weight([1.0, 1.0, factor, factor]),
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
            total = self._layers.graph.op("Add", total, x)
            factor *= 2
        return total

    def _upsample(self, x: str, layer: DeformableUpsample) -> str:
        graph = self._layers.graph
        # Sampling positions are fractions of a pixel: computed in float32 in every precision.
        offset_conv = layer.offset_conv
        raw = self._layers.conv(
            self._layers.to_float(x),
            array(offset_conv.weight),
            array(offset_conv.bias),
            compute="fp32",
        )
        offset, mask = graph.op_many("Split", 2, raw, graph.integers(2 * TAPS, TAPS), axis=1)
        mask = graph.op("Sigmoid", mask)
        scale, bias = scale_and_bias(expect(layer.deform_norm, nn.BatchNorm2d))
        weight = array(layer.deform_conv.weight) * scale[:, None, None, None]
        if self._layers.form.deform_conv == "operator":
            x = graph.op(
                "DeformConv",
                x,
                graph.weight(weight),
                offset,
                graph.weight(bias),
                mask,
                kernel_shape=[3, 3],
                pads=[1] * 4,
                strides=[1, 1],
            )
        else:
            x = self._sampled_conv(x, offset, mask, weight, bias)
        scale, bias = scale_and_bias(expect(layer.upsample_norm, nn.BatchNorm2d))
        weight = array(layer.upsample_conv.weight) * scale[None, :, None, None]
        return self._layers.relu(self._layers.conv_transpose(self._layers.relu(x), weight, bias))

    def _sampled_conv(self, x: str, offset: str, mask: str, weight: Weights, bias: Weights) -> str:
        """Deformable convolution: one GridSample over nine stacked taps, then a 1x1 convolution.

        x: [B, C, H, W]. offset: [B, 18, H, W] float32, dy and dx alternating. mask: [B, 9, H, W]
        float32. TensorRT wants data and grid of one type, so the samples are float32 first.
        """
        graph = self._layers.graph
        out_channels, channels = weight.shape[:2]
        grid = self._sampling_grid(x, offset)
        samples = graph.op(
            "GridSample",
            self._layers.to_float(x),
            grid,
            mode="bilinear",
            padding_mode="zeros",
            align_corners=0,
        )  # [B, C, 9 * H, W]
        batch, _, height, width = graph.sizes(x)
        mask = graph.reshape(mask, batch, 1, -1, width)
        samples = self._layers.to_low(graph.op("Mul", samples, mask))
        samples = graph.reshape(samples, batch, channels * TAPS, height, width)
        return self._layers.conv(samples, weight.reshape(out_channels, -1, 1, 1), bias)

    def _sampling_grid(self, x: str, offset: str) -> str:
        """Return the positions of all taps, [B, 9 * H, W, 2] as x and y from -1 to 1."""
        graph = self._layers.graph
        batch, _, height, width = graph.sizes(x)
        pairs = graph.reshape(offset, batch, TAPS, 2, height, width)
        dy, dx = graph.op_many("Split", 2, pairs, graph.integers(1, 1), axis=2)
        rows = graph.op("Unsqueeze", graph.float_range(height), graph.integers(0, 1, 2, 4))
        columns = graph.op("Unsqueeze", graph.float_range(width), graph.integers(0, 1, 2, 3))
        coordinates = []
        for delta, pixel, taps, size in (
            (dx, columns, TAP_COLUMNS, width),
            (dy, rows, TAP_ROWS, height),
        ):
            taps_5d = graph.weight(taps.reshape(1, TAPS, 1, 1, 1))
            position = graph.op("Add", delta, graph.op("Add", pixel, taps_5d))
            # (2 p + 1) / size - 1; align_corners=0 is the more exact of the two normalisations.
            position = graph.op("Mul", position, graph.weight(2.0))
            position = graph.op("Add", position, graph.weight(1.0))
            position = graph.op("Div", position, graph.cast(size, "fp32"))
            position = graph.op("Sub", position, graph.weight(1.0))
            coordinates.append(graph.reshape(position, batch, -1, width, 1))
        return graph.op("Concat", *coordinates, axis=3)

    def _with_coordinates(self, fused: str) -> str:
        """Append the coordinate channels and a channel of ones to G, [B, A, h, w] float32."""
        graph = self._layers.graph
        batch, _, height, width = graph.sizes(fused)
        size = graph.op("Concat", batch, graph.integers(1), height, width, axis=0)
        channels = [fused]
        for count, axes in ((width, (0, 1, 2)), (height, (0, 1, 3))):
            last = graph.op("Sub", graph.cast(count, "fp32"), graph.weight(1.0))
            line = graph.op("Mul", graph.float_range(count), graph.weight(2.0))
            line = graph.op("Sub", graph.op("Div", line, last), graph.weight(1.0))
            line = graph.op("Unsqueeze", line, graph.integers(*axes))
            channels.append(graph.op("Expand", line, size))
        channels.append(graph.op("Expand", graph.weight(np.ones((1, 1, 1, 1))), size))
        return graph.op("Concat", *channels, axis=1)


def feature_lift(model: RmpSam) -> Weights:
    """Return L, [d, A + 3] float64, that turns compact features into features: F = L c.

    The last convolution of the neck is linear and 1x1: F = W [G, x, y] + b at every pixel, with
    A = 128 channels of G against d = 256 of F. Everything behind it is an inner product with F
    or a sum of F, so L can be applied to the few queries instead of to every pixel, exactly; the
    compact features c = [G, x, y, 1] (reference section 3) take its place.
    """
    conv = expect(model.neck.location_conv, nn.Conv2d)
    return np.concatenate([array(conv.weight)[:, :, 0, 0], array(conv.bias)[:, None]], axis=1)
