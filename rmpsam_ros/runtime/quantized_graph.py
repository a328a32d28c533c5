"""Eight-bit activations and weights in an ONNX graph, as pairs of Quantize and Dequantize."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.graph_builder import GraphBuilder, Weights

ActivationRanges: TypeAlias = Mapping[str, tuple[float, float]]
"""Smallest and largest value of every quantised activation, by the name of its layer."""


class Quantizer:
    """Inserts what quantisation needs; in float forms it only remembers the activations.

    Attributes:
        activations: tensor by layer name, what calibration has to observe.
    """

    def __init__(
        self, graph: GraphBuilder, form: ExportForm, ranges: ActivationRanges | None
    ) -> None:
        self.activations: dict[str, str] = {}
        self._graph = graph
        self._form = form
        self._ranges = ranges
        self._scales: dict[str, float] = {}  # of the tensors that come out of a Dequantize
        if (form.quantization == "none") != (ranges is None):
            raise ValueError("activation ranges are needed for quantised forms, and only there")

    def activation(self, x: str, layer: str, positive: bool = False) -> str:
        """Quantise an activation; ``positive`` if it comes out of a ReLU."""
        self.activations.setdefault(layer, x)
        if self._ranges is None:
            return x
        if layer not in self._ranges:
            raise ValueError(f"the activation ranges lack layer '{layer}': calibrate again")
        low, high = self._ranges[layer]
        if self._form.quantization == "s8s8":
            kind, zero, scale = "int8", 0, max(-low, high, 1e-9) / 127
        else:
            low, high = (0.0 if positive else min(low, 0.0)), max(high, 1e-9)
            kind, scale = "uint8", (high - low) / 255
            zero = round(-low / scale)
        # The type of the scale is the type of the float side.
        arguments = (self._graph.weight(scale, self._form.compute), self._graph.weight(zero, kind))
        quantized = self._graph.op("QuantizeLinear", x, *arguments)
        result = self._graph.op("DequantizeLinear", quantized, *arguments)
        self._scales[result] = float(np.float32(scale))
        return result

    def branch(self, x: str, layer: str) -> str:
        """Quantise the residual branch before its addition.

        ONNX Runtime then adds in integers; TensorRT fuses the addition into the convolution and
        is better off without.
        """
        if self._form.quantization == "s8s8":
            return x
        return self.activation(x, layer)

    def is_quantized(self, x: str) -> bool:
        """Tell whether a tensor has been through eight bits just before."""
        return x in self._scales

    def conv_weights(self, x: str, weight: Weights, bias: Weights) -> tuple[str, str]:
        """Return the quantised weight and the bias of a convolution of quantised ``x``."""
        graph, compute = self._graph, self._form.compute
        largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        scales = np.maximum(largest, 1e-9).astype(np.float32).astype(np.float64) / 127
        numbers = np.rint(weight / scales[:, None, None, None]).clip(-127, 127)
        weight_name = graph.op(
            "DequantizeLinear",
            graph.weight(numbers, "int8"),
            graph.weight(scales, compute),
            graph.weight(np.zeros(len(scales)), "int8"),
            axis=0,
        )
        if self._form.quantization == "s8s8":  # TensorRT wants the bias in floats
            return weight_name, graph.weight(bias, compute)
        bias_scales = (scales.astype(np.float32) * np.float32(self._scales[x])).astype(np.float64)
        limit = 2**31 - 1
        bias_name = graph.op(
            "DequantizeLinear",
            graph.weight(np.rint(bias / bias_scales).clip(-limit, limit), "int32"),
            graph.weight(bias_scales),
            graph.weight(np.zeros(len(scales)), "int32"),
            axis=0,
        )
        return weight_name, bias_name
