"""Layers that backbones and neck are made of, in the number formats of a form."""

import math
from collections.abc import Sequence

import numpy as np
from torch import nn

from rmpsam_ros.model.sam.layers import LayerNorm2d
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.graph_builder import GraphBuilder, Weights, array
from rmpsam_ros.runtime.quantized_graph import ActivationRanges, Quantizer


class LayerWriter:
    """Writes layers into a graph; tensors between them have the form's number format.

    Attributes:
        graph, form: what is written to, and how.
        quantizer: where activations that a quantised form stores in eight bits pass.
    """

    def __init__(
        self, graph: GraphBuilder, form: ExportForm, ranges: ActivationRanges | None
    ) -> None:
        self.graph = graph
        self.form = form
        self.quantizer = Quantizer(graph, form, ranges)

    def conv(
        self,
        x: str,
        weight: Weights,
        bias: Weights,
        stride: int = 1,
        groups: int = 1,
        compute: str = "",
        quantized: bool = True,
        pads: Sequence[int] | None = None,
    ) -> str:
        """Write a convolution that keeps the size but for the stride.

        pads: zeros at the top, left, bottom and right; None: half the kernel everywhere.
        compute: overrides the form's. quantized: quantise the weights if x is quantised.
        """
        compute = compute or self.form.compute
        if quantized and self.quantizer.is_quantized(x):
            weight_name, bias_name = self.quantizer.conv_weights(x, weight, bias)
        else:
            weight_name = self.graph.weight(weight, compute)
            bias_name = self.graph.weight(bias, compute)
        kernel = weight.shape[2:]
        return self.graph.op(
            "Conv",
            x,
            weight_name,
            bias_name,
            kernel_shape=list(kernel),
            strides=[stride] * 2,
            pads=[kernel[0] // 2] * 4 if pads is None else list(pads),
            group=groups,
        )

    def conv_norm(self, x: str, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> str:
        """Write a convolution with the BatchNorm behind it folded in."""
        scale, bias = scale_and_bias(norm)
        weight = array(conv.weight) * scale[:, None, None, None]
        return self.conv(x, weight, bias, stride=conv.stride[0], groups=conv.groups)

    def convolution(self, x: str, conv: nn.Conv2d, pads: Sequence[int] | None = None) -> str:
        """Write a convolution as it is, padded as `conv` does it."""
        bias = np.zeros(conv.out_channels) if conv.bias is None else array(conv.bias)
        return self.conv(
            x, array(conv.weight), bias, stride=conv.stride[0], groups=conv.groups, pads=pads
        )

    def conv_transpose(self, x: str, weight: Weights, bias: Weights) -> str:
        """Write a transposed convolution 4x4 that doubles the size."""
        compute = self.form.compute
        in_bf16 = compute == "bf16"  # which TensorRT has no transposed convolution for
        if in_bf16:
            x, compute = self.to_float(x), "fp32"
        y = self.graph.op(
            "ConvTranspose",
            x,
            self.graph.weight(weight, compute),
            self.graph.weight(bias, compute),
            kernel_shape=[4, 4],
            strides=[2, 2],
            pads=[1] * 4,
        )
        return self.to_low(y) if in_bf16 else y

    def linear(self, x: str, weight: Weights, bias: Weights) -> str:
        """Write x W^T + b over the last axis; ``weight`` is [out, in]."""
        y = self.graph.op("MatMul", x, self.constant(weight.T))
        return self.graph.op("Add", y, self.constant(bias))

    def map_norm(self, x: str, norm: LayerNorm2d) -> str:
        """Write a layer normalisation over the channels of a map [B, C, H, W]."""
        x = self.layer_norm(self.graph.op("Transpose", x, perm=[0, 2, 3, 1]), norm)
        return self.graph.op("Transpose", x, perm=[0, 3, 1, 2])

    def layer_norm(self, x: str, norm: nn.LayerNorm | LayerNorm2d) -> str:
        """Write a layer normalisation over the last axis, whose sums are float32."""
        weight, bias = self.graph.weight(array(norm.weight)), self.graph.weight(array(norm.bias))
        x = self.to_float(x)
        x = self.graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=norm.eps)
        return self.to_low(x)

    def gelu(self, x: str) -> str:
        """Write the exact GELU in the operators that every engine recognises as one."""
        graph = self.graph
        y = graph.op("Erf", graph.op("Div", x, self.constant(math.sqrt(2))))
        y = graph.op("Mul", x, graph.op("Add", y, self.constant(1.0)))
        return graph.op("Mul", y, self.constant(0.5))

    def relu(self, x: str) -> str:
        """Write a ReLU."""
        return self.graph.op("Relu", x)

    def constant(self, values: object) -> str:
        """Return a constant in the form's number format."""
        return self.graph.weight(values, self.form.compute)

    def to_low(self, x: str) -> str:
        """Convert float32 to the form's number format."""
        return x if self.form.compute == "fp32" else self.graph.cast(x, self.form.compute)

    def to_float(self, x: str) -> str:
        """Convert the form's number format to float32."""
        return x if self.form.compute == "fp32" else self.graph.cast(x, "fp32")


def scale_and_bias(norm: nn.BatchNorm2d) -> tuple[Weights, Weights]:
    """Return the factor and the summand of every channel of a BatchNorm in eval mode."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a BatchNorm without running statistics cannot be exported")
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
    return scale, array(norm.bias) - array(norm.running_mean) * scale
