"""Backbone and neck as an ONNX graph (reference sections 2 and 3).

BatchNorms are folded into the convolutions before them, which is exact. The graph ends before
the last, linear 1x1 convolution of the neck: see `feature_lift`.
"""

from collections.abc import Sequence

import numpy as np
from torch import nn

from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.deform_conv import TAPS
from rmpsam_ros.model.neck import DeformableUpsample, Neck
from rmpsam_ros.model.resnet import BasicBlock, Bottleneck, ResNet
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.graph_builder import GraphBuilder, Weights, array, expect
from rmpsam_ros.runtime.quantized_graph import ActivationRanges, Quantizer

TAP_ROWS = np.arange(TAPS) // 3 - 1
TAP_COLUMNS = np.arange(TAPS) % 3 - 1


class EncoderGraph:
    """Writes backbone and neck of one network into a graph.

    Quantised forms store the activations of the backbone in eight bits. They pass
    `Quantizer.activation` under the name of their layer, which in float forms does nothing. The
    first convolution, which eight bits do not make faster, and the neck, whose output decides
    on every mask's border, stay in floats.
    """

    def __init__(
        self, graph: GraphBuilder, form: ExportForm, ranges: ActivationRanges | None = None
    ) -> None:
        self._graph = graph
        self._form = form
        self.quantizer = Quantizer(graph, form, ranges)

    def encode(self, model: RmpSam, image: str) -> str:
        """Write the encoder and return its output, [B, A + 3, h, w] (see `feature_lift`).

        image: [B, 3, H, W] float32, normalised, H and W multiples of 32.
        """
        levels = self._backbone(self._low(image), model.backbone)
        return self._compact_features(self._neck(levels, model.neck))

    def _backbone(self, image: str, net: ResNet) -> list[str]:
        x = self._conv(image, *_folded(net.conv1, net.bn1), stride=2)
        x = self._graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        x = self._relu(x)  # behind the pooling it is the same, and a quarter of the work
        x = self.quantizer.activation(x, "backbone.stem", positive=True)
        levels = []
        for name, layer in net.named_children():
            if name.startswith("layer"):
                for index, block in enumerate(layer.children()):
                    if not isinstance(block, Bottleneck):
                        block = expect(block, BasicBlock)
                    x = self._block(x, block, f"backbone.{name}.{index}")
                levels.append(x)
        return levels

    def _block(self, x: str, block: BasicBlock | Bottleneck, name: str) -> str:
        activation = self.quantizer.activation
        layers = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        if isinstance(block, Bottleneck):
            layers.append((block.conv3, block.bn3))
        y = x
        for index, (conv, norm) in enumerate(layers[:-1]):
            y = self._relu(self._conv(y, *_folded(conv, norm), stride=conv.stride[0]))
            y = activation(y, f"{name}.{index}", positive=True)
        conv, norm = layers[-1]
        y = self.quantizer.branch(self._conv(y, *_folded(conv, norm)), f"{name}.branch")
        if block.downsample is not None:
            conv = expect(block.downsample[0], nn.Conv2d)
            norm = expect(block.downsample[1], nn.BatchNorm2d)
            x = self._conv(x, *_folded(conv, norm), stride=conv.stride[0])
            x = activation(x, f"{name}.shortcut")
        return activation(self._relu(self._graph.op("Add", y, x)), name, positive=True)

    def _neck(self, levels: Sequence[str], neck: Neck) -> str:
        """Return G, [B, A, h, w], the output of the neck's 3x3 convolution, in float32."""
        laterals = []
        for level, module in zip(levels[::-1], neck.lateral_convs, strict=True):
            conv = expect(module, nn.Conv2d)
            laterals.append(
                self._conv(level, array(conv.weight), array(conv.bias), quantized=False)
            )
        pyramid = laterals[:1]
        for lateral, module in zip(laterals[1:], neck.upsamples, strict=True):
            above = self._upsample(pyramid[-1], expect(module, DeformableUpsample))
            pyramid.append(self._graph.op("Add", lateral, above))
        total = self._aggregate(pyramid, neck)
        output = neck.output_conv
        return self._float(self._conv(total, array(output.weight), array(output.bias)))

    def _aggregate(self, pyramid: Sequence[str], neck: Neck) -> str:
        """Sum all levels, coarsest first, at the size of the finest."""
        total = ""
        bias = array(neck.aggregation_bias).reshape(-1)
        for level, module in zip(pyramid[::-1], reversed(neck.aggregation_convs), strict=True):
            x = self._conv(level, array(expect(module, nn.Conv2d).weight), bias)
            if not total:
                total, bias, factor = x, np.zeros_like(bias), 2.0
                continue
            x = self._graph.op(
                "Resize",
                x,
                "",
                self._graph.weight([1.0, 1.0, factor, factor]),
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
            total = self._graph.op("Add", total, x)
            factor *= 2
        return total

    def _upsample(self, x: str, layer: DeformableUpsample) -> str:
        graph = self._graph
        # Sampling positions are fractions of a pixel: computed in float32 in every precision.
        offset_conv = layer.offset_conv
        raw = self._conv(
            self._float(x), array(offset_conv.weight), array(offset_conv.bias), compute="fp32"
        )
        offset, mask = graph.op_many("Split", 2, raw, graph.integers(2 * TAPS, TAPS), axis=1)
        mask = graph.op("Sigmoid", mask)
        scale, bias = _scale_and_bias(layer.deform_norm)
        weight = array(layer.deform_conv.weight) * scale[:, None, None, None]
        if self._form.deform_conv == "operator":
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
        scale, bias = _scale_and_bias(layer.upsample_norm)
        weight = array(layer.upsample_conv.weight) * scale[None, :, None, None]
        return self._relu(self._conv_transpose(self._relu(x), weight, bias))

    def _conv_transpose(self, x: str, weight: Weights, bias: Weights) -> str:
        """Write a transposed convolution 4x4 that doubles the size."""
        compute = self._form.compute
        in_bf16 = compute == "bf16"  # which TensorRT has no transposed convolution for
        if in_bf16:
            x, compute = self._float(x), "fp32"
        y = self._graph.op(
            "ConvTranspose",
            x,
            self._graph.weight(weight, compute),
            self._graph.weight(bias, compute),
            kernel_shape=[4, 4],
            strides=[2, 2],
            pads=[1] * 4,
        )
        return self._low(y) if in_bf16 else y

    def _sampled_conv(self, x: str, offset: str, mask: str, weight: Weights, bias: Weights) -> str:
        """Deformable convolution: one GridSample over nine stacked taps, then a 1x1 convolution.

        x: [B, C, H, W]. offset: [B, 18, H, W] float32, dy and dx alternating. mask: [B, 9, H, W]
        float32. TensorRT wants data and grid of one type, so the samples are float32 first.
        """
        graph = self._graph
        out_channels, channels = weight.shape[:2]
        grid = self._sampling_grid(x, offset)
        samples = graph.op(
            "GridSample",
            self._float(x),
            grid,
            mode="bilinear",
            padding_mode="zeros",
            align_corners=0,
        )  # [B, C, 9 * H, W]
        batch, _, height, width = graph.sizes(x)
        mask = graph.reshape(mask, batch, 1, -1, width)
        samples = self._low(graph.op("Mul", samples, mask))
        samples = graph.reshape(samples, batch, channels * TAPS, height, width)
        return self._conv(samples, weight.reshape(out_channels, -1, 1, 1), bias)

    def _sampling_grid(self, x: str, offset: str) -> str:
        """Return the positions of all taps, [B, 9 * H, W, 2] as x and y from -1 to 1."""
        graph = self._graph
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

    def _compact_features(self, fused: str) -> str:
        """Append the coordinate channels and a channel of ones to G, [B, A, h, w] float32."""
        graph = self._graph
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

    def _conv(
        self,
        x: str,
        weight: Weights,
        bias: Weights,
        stride: int = 1,
        compute: str = "",
        quantized: bool = True,
    ) -> str:
        """Write a convolution that keeps the size but for the stride.

        compute: overrides the form's. quantized: quantise the weights if x is quantised.
        """
        compute = compute or self._form.compute
        if quantized and self.quantizer.is_quantized(x):
            weight_name, bias_name = self.quantizer.conv_weights(x, weight, bias)
        else:
            weight_name = self._graph.weight(weight, compute)
            bias_name = self._graph.weight(bias, compute)
        kernel = weight.shape[2:]
        return self._graph.op(
            "Conv",
            x,
            weight_name,
            bias_name,
            kernel_shape=list(kernel),
            strides=[stride] * 2,
            pads=[kernel[0] // 2] * 4,
        )

    def _relu(self, x: str) -> str:
        return self._graph.op("Relu", x)

    def _low(self, x: str) -> str:
        return x if self._form.compute == "fp32" else self._graph.cast(x, self._form.compute)

    def _float(self, x: str) -> str:
        return x if self._form.compute == "fp32" else self._graph.cast(x, "fp32")


def feature_lift(model: RmpSam) -> Weights:
    """Return L, [d, A + 3] float64, that turns compact features into features: F = L c.

    The last convolution of the neck is linear and 1x1: F = W [G, x, y] + b at every pixel, with
    A = 128 channels of G against d = 256 of F. Everything behind it is an inner product with F
    or a sum of F, so L can be applied to the few queries instead of to every pixel, exactly; the
    compact features c = [G, x, y, 1] (reference section 3) take its place.
    """
    conv = model.neck.location_conv
    return np.concatenate([array(conv.weight)[:, :, 0, 0], array(conv.bias)[:, None]], axis=1)


def _scale_and_bias(norm: nn.BatchNorm2d) -> tuple[Weights, Weights]:
    """Return the factor and the summand of every channel of a BatchNorm in eval mode."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without running statistics cannot be exported")
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
    return scale, array(norm.bias) - array(norm.running_mean) * scale


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Weights, Weights]:
    scale, bias = _scale_and_bias(norm)
    return array(conv.weight) * scale[:, None, None, None], bias
