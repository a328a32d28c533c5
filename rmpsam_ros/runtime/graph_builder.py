"""Writes ONNX graphs node by node: what is written here is exactly what the engines execute."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

Weights: TypeAlias = NDArray[np.float64]
T = TypeVar("T")

FLOAT = TensorProto.FLOAT
ELEMENT_TYPES = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
}
IR_VERSION = 9  # the oldest that has opset 19: readable by every ONNX Runtime from 1.16 on


class GraphBuilder:
    """An ONNX graph under construction; tensors are known by their names.

    A weight given twice is stored once. Names are numbered in the order of the calls, so that
    the same network always gives the same bytes.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._sizes: dict[str, list[str]] = {}

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """Declare a float32 input; a string in ``shape`` names a dynamic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, FLOAT, list(shape)))
        return name

    def output(self, tensor: str, name: str, shape: Sequence[int | str]) -> None:
        """Declare the float32 ``tensor`` an output under ``name``."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=f"output_{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, FLOAT, list(shape)))

    def weight(self, values: Any, kind: str = "fp32") -> str:
        """Return the name of a constant of a type in ELEMENT_TYPES, rounded once, here."""
        numbers = np.asarray(values)
        raw = _encoded(numbers, kind).tobytes()
        key = (kind, numbers.shape, raw)
        if key not in self._weights:
            name = f"weight_{len(self._weights)}"
            self._weights[key] = name
            self._initializers.append(
                helper.make_tensor(name, ELEMENT_TYPES[kind], numbers.shape, raw, raw=True)
            )
        return self._weights[key]

    def integers(self, *values: int) -> str:
        """Return the name of a constant vector of int64."""
        return self.weight(values, "int64")

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name; '' omits an input."""
        return self.op_many(op_type, 1, *inputs, **attributes)[0]

    def op_many(self, op_type: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with ``count`` outputs and return their names."""
        stem = f"{op_type}_{len(self._nodes)}"
        outputs = [stem] if count == 1 else [f"{stem}_{index}" for index in range(count)]
        self._nodes.append(helper.make_node(op_type, list(inputs), outputs, stem, **attributes))
        return outputs

    def note(self, x: str, text: str) -> None:
        """Leave a note at the node that makes ``x``, for those who read the graph."""
        next(node for node in self._nodes if x in node.output).doc_string = text

    def cast(self, x: str, kind: str) -> str:
        """Convert a tensor to a type in ELEMENT_TYPES."""
        return self.op("Cast", x, to=ELEMENT_TYPES[kind])

    def halves(self, x: str) -> list[str]:
        """Cut the last axis in two."""
        return self.op_many("Split", 2, x, axis=-1, num_outputs=2)

    def sizes(self, x: str) -> list[str]:
        """Return the four dimensions of a 4-D tensor, an int64 vector of one number each."""
        if x not in self._sizes:
            parts = self.integers(1, 1, 1, 1)
            self._sizes[x] = self.op_many("Split", 4, self.op("Shape", x), parts, axis=0)
        return self._sizes[x]

    def reshape(self, x: str, *shape: str | int) -> str:
        """Reshape; a string is a dimension from `sizes`, 0 keeps one, -1 is what remains."""
        if all(isinstance(size, int) for size in shape):
            return self.op("Reshape", x, self.weight(shape, "int64"))
        parts = [self.integers(size) if isinstance(size, int) else size for size in shape]
        return self.op("Reshape", x, self.op("Concat", *parts, axis=0))

    def float_range(self, count: str) -> str:
        """Return 0, 1, ... as float32, as many as ``count``, a dimension from `sizes`."""
        zero, one = self.weight(0, "int64"), self.weight(1, "int64")
        limit = self.op("Squeeze", count, self.integers(0))
        return self.cast(self.op("Range", zero, limit, one), "fp32")

    def model(self, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Return the finished, checked model."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._initializers
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            producer_name="rmpsam_ros",
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model


def array(tensor: Tensor | None) -> Weights:
    """Return the values of a torch tensor in float64, in which weights are combined exactly."""
    if tensor is None:
        raise ValueError("the network lacks a weight that the exported graph needs")
    return np.asarray(tensor.detach().cpu().double().numpy())


def expect(part: object, kind: type[T]) -> T:
    """Return a part of the network that must be of this kind for the graph to be right."""
    if not isinstance(part, kind):
        raise ValueError(
            f"the network has a {type(part).__name__} where the exporter knows how to write a "
            f"{kind.__name__}"
        )
    return part


def _encoded(numbers: NDArray[Any], kind: str) -> NDArray[Any]:
    if kind == "bf16":
        bits = numbers.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # ties to even
    dtype = helper.tensor_dtype_to_np_dtype(ELEMENT_TYPES[kind])
    return np.ascontiguousarray(numbers.astype(dtype))
