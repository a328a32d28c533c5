"""Calls PyTorch's exporter for one part of a network, and tidies up what it writes."""

import ast
import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim

from rmpsam_ros.export.forms import END_OF_STEM, OPSET
from rmpsam_ros.model.inference_form import Part

if TYPE_CHECKING:
    import onnx

IR_VERSION = 9  # the oldest that has opset 19: readable by every ONNX Runtime from 1.16 on

# Of every axis that may have any length: an example, no two of them equal, and a factor of it.
AXES: Mapping[str, tuple[int, int]] = {
    "batch": (2, 1),
    "height": (96, 32),
    "width": (160, 32),
    "mask_height": (24, 1),
    "mask_width": (40, 1),
    "frames": (5, 1),
    "prompts": (3, 1),
    "points": (7, 1),
}
MIN_LENGTHS = {"prompts": 0, "mask_height": 8, "mask_width": 8, "points": 2}
MAX_LENGTH = 4096


def exported(part: Part) -> "onnx.ModelProto":
    """Write a part as ONNX; every axis that its shapes name is dynamic.

    Nodes are named after the module that they come from, and weights by their path in the part;
    no constant is computed from weights.
    """
    import onnxscript.optimizer

    dims = {name: _dimension(name) for name in AXES}
    dynamic = tuple(
        {axis: dims[size] for axis, size in enumerate(shape) if isinstance(size, str)}
        for shape in part.inputs.values()
    )
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            part,
            tuple(_example(shape) for shape in part.inputs.values()),
            dynamo=True,
            dynamic_shapes=(dynamic,),
            input_names=part.input_names,
            output_names=part.output_names,
            opset_version=OPSET,
            custom_translation_table=_translations(),
            optimize=False,
            verbose=False,
        )
        assert program is not None
        weights = {name for name, _ in (*part.named_parameters(), *part.named_buffers())}
        onnxscript.optimizer.optimize_ir(
            program.model,
            should_fold=lambda node: (
                False if any(value and value.name in weights for value in node.inputs) else None
            ),
        )
    graph = program.model_proto
    _tidy(graph, part, getattr(getattr(part.network, "backbone", None), "stem", ""))
    return graph


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return operators that engines are faster with than with the exporter's own."""
    import onnx_ir
    from onnxscript import opset18

    op: Any = opset18

    def gelu(self: Any, approximate: str = "none") -> Any:
        """Write the exact GELU in the order that ONNX Runtime recognises as one operator."""
        assert approximate == "none"

        def constant(value: float) -> Any:
            return op.Constant(value=onnx_ir.tensor(value, dtype=self.dtype))

        error = op.Erf(op.Div(self, constant(math.sqrt(2))))
        return op.Mul(op.Mul(self, op.Add(error, constant(1.0))), constant(0.5))

    def index(self: Any, indices: Sequence[Any]) -> Any:
        """Write a choice of rows, the only indexing by tensors in the networks, as Gather."""
        (rows,) = indices
        return op.Gather(self, rows, axis=0)

    return {torch.ops.aten.gelu.default: gelu, torch.ops.aten.index.Tensor: index}


def _dimension(name: str) -> Any:
    _, factor = AXES[name]
    least, most = MIN_LENGTHS.get(name, 1), MAX_LENGTH // factor
    if factor == 1:
        return Dim(name, min=least, max=most)
    return factor * Dim(f"{name}_over_{factor}", min=least, max=most)


def _example(shape: Sequence[int | str]) -> torch.Tensor:
    return torch.rand([AXES[size][0] if isinstance(size, str) else size for size in shape])


def _tidy(graph: "onnx.ModelProto", part: Part, stem: str) -> None:
    """Name nodes and axes, note the end of the stem, and drop what the exporter says of itself."""
    import onnx

    end_of_stem = None
    for index, node in enumerate(graph.graph.node):
        scope = _scope(node)
        if stem and scope.startswith(f"backbone.{stem}"):
            end_of_stem = node
        node.name = f"{scope}/{node.op_type}_{index}" if scope else f"{node.op_type}_{index}"
        node.doc_string = ""
        del node.metadata_props[:]
    if end_of_stem is not None:
        end_of_stem.doc_string = END_OF_STEM
    name_axes(graph, part)
    del graph.graph.value_info[:], graph.graph.metadata_props[:], graph.metadata_props[:]
    for tensor in graph.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    graph.ir_version = IR_VERSION
    graph.producer_name, graph.producer_version = "rmpsam_ros", ""
    graph.graph.name = "rmpsam"
    onnx.checker.check_model(graph)


def _scope(node: "onnx.NodeProto") -> str:
    """Return the path of the module that a node comes from, in the network; '' if unknown."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = [str(scope) for scope in ast.literal_eval(entry.value)[:-1]]
            if scopes and scopes[-1].startswith("network."):
                return scopes[-1].removeprefix("network.")
    return ""


def name_axes(graph: "onnx.ModelProto", part: Part) -> None:
    """Give the inputs and outputs of a graph the shapes of the part, in place."""
    for value in (*graph.graph.input, *graph.graph.output):
        shape = {**part.inputs, **part.outputs}[value.name]
        del value.metadata_props[:]
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter and its optimiser tell their developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
