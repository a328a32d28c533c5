"""Cuts an ONNX graph into pieces that are executed one after the other."""

from collections.abc import Iterable, Sequence

import onnx
from onnx import helper

from rmpsam_ros.export.forms import END_OF_STEM


def split_behind_samples(model: onnx.ModelProto) -> list[onnx.ModelProto]:
    """Cut a graph in GridSample form behind its stem and every deformable sampling.

    OpenVINO leaves float32 what comes after the last convolution of a graph, and nothing else:
    cut there, the sampling positions keep their precision while all convolutions are bf16.
    A stem, which `is_stem` tells, is a piece of its own, so that it can stay float32.

    Returns:
        pieces in the order of execution; tensors between them keep their names.
    """
    nodes = list(model.graph.node)
    ends = [index for index, node in enumerate(nodes) if node.doc_string == END_OF_STEM]
    ends += [_modulation(nodes, index) for index, node in enumerate(nodes) if _samples(node)]
    pieces, start = [], 0
    for end in [*ends, len(nodes) - 1]:
        pieces.append(nodes[start : end + 1])
        start = end + 1
    values = {
        value.name: value
        for value in (
            *onnx.shape_inference.infer_shapes(model).graph.value_info,
            *model.graph.input,
            *model.graph.output,
        )
    }
    weights = {weight.name: weight for weight in model.graph.initializer}
    results = [value.name for value in model.graph.output]
    models = []
    for index, piece in enumerate(pieces):
        used = list(dict.fromkeys(name for node in piece for name in node.input if name))
        own = {name for node in piece for name in node.output}
        later = {name for other in pieces[index + 1 :] for node in other for name in node.input}
        inputs = [name for name in used if name not in own and name not in weights]
        outputs = [name for name in own if name in later or name in results]
        graph = helper.make_graph(
            piece,
            f"{model.graph.name}_{index}",
            _named(values, inputs),
            _named(values, sorted(outputs)),
            [weights[name] for name in used if name in weights],
        )
        models.append(
            helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        )
    return models


def is_stem(piece: onnx.ModelProto) -> bool:
    """Tell whether a piece is the stem of a backbone."""
    return any(node.doc_string == END_OF_STEM for node in piece.graph.node)


def _samples(node: onnx.NodeProto) -> bool:
    return bool(node.op_type == "GridSample")


def _modulation(nodes: Sequence[onnx.NodeProto], index: int) -> int:
    """Return the place of the node that multiplies the samples of node ``index``."""
    samples = nodes[index].output[0]
    return next(i for i, node in enumerate(nodes) if i > index and samples in node.input)


def _named(
    values: dict[str, onnx.ValueInfoProto], names: Iterable[str]
) -> list[onnx.ValueInfoProto]:
    """Return the types of tensors, with the sizes that are known from the graph alone."""
    found = []
    for name in names:
        tensor = values[name].type.tensor_type
        sizes = [size.dim_value or f"{name}_{axis}" for axis, size in enumerate(tensor.shape.dim)]
        found.append(helper.make_tensor_value_info(name, tensor.elem_type, sizes))
    return found
