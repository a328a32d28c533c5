"""Graphs without weights: PyTorch's exporter takes up to a minute, and its result is kept.

What the exporter writes depends on the structure of a network, not on its weights, as long as no
constant is computed from weights; engines compute such constants themselves when they load a
graph. So a graph is written with placeholders of the weights, which are filled in by name.
Templates of the networks whose weights come with the package are in the package, too, written by
``tools/write_templates.py``.
"""

import copy
import gzip
import hashlib
import math
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rmpsam_ros.export.forms import OPSET
from rmpsam_ros.export.torch_exporter import exported, name_axes
from rmpsam_ros.model.inference_form import Part

if TYPE_CHECKING:
    import onnx

FOLDER = resources.files("rmpsam_ros.export") / "templates"
MAX_CONSTANT = 4096
"""Numbers of a constant that is no weight: shapes, ranges, tables of a few rows."""

_known: dict[str, bytes] = {}


def filled(part: Part) -> "onnx.ModelProto":
    """Return the graph of a part with its weights, from a template if there is one."""
    import onnx

    if part.pieces:
        return _joined(part)
    graph = onnx.load_model_from_string(gzip.decompress(template(part)))
    weights = _tensors(part)
    for initializer in graph.graph.initializer:
        if initializer.name in weights:
            initializer.dims[:] = weights[initializer.name].shape
            initializer.raw_data = _bytes(weights[initializer.name])
    name_axes(graph, part)
    return graph


def template(part: Part) -> bytes:
    """Return the graph of a part without weights, compressed."""
    key = structure(part)
    if key not in _known:
        packaged = FOLDER / f"{key}.onnx.gz"
        _known[key] = packaged.read_bytes() if packaged.is_file() else written(part)
    return _known[key]


def written(part: Part) -> bytes:
    """Write the template of a part anew.

    Raises:
        ValueError: the exporter computed something large from the weights.
    """
    graph = exported(_with_other_weights(part))
    weights = _tensors(part)
    for initializer in graph.graph.initializer:
        if initializer.name in weights:
            initializer.ClearField("raw_data")
            assert not initializer.float_data and not initializer.int64_data
        elif math.prod(initializer.dims) > MAX_CONSTANT:
            raise ValueError(
                f"the exporter computed the constant {initializer.name}, {list(initializer.dims)}"
                ", from weights; compute it in the inference form"
            )
    return gzip.compress(graph.SerializeToString(), mtime=0)


def structure(part: Part) -> str:
    """Return a digest of all that a graph depends on but weights and source code."""
    axes = [
        (name, [size if isinstance(size, str) else "" for size in shape])
        for name, shape in (*part.inputs.items(), *part.outputs.items())
    ]
    digest = hashlib.sha256(f"{OPSET} {axes} {part.function}".encode())
    for name, module in part.named_modules():
        if name.startswith(tuple(f"network.{child}" for child in part.unused)):
            continue
        plain = {
            key: value
            for key, value in sorted(vars(module).items())
            if _is_plain(value) and key != "training"
        }
        digest.update(f"{name} {type(module).__qualname__} {plain}".encode())
        free = getattr(module, "free_lengths", ())
        for tensors in (module._parameters, module._buffers):
            for key, tensor in tensors.items():
                shape = tuple(tensor.shape) if tensor is not None and key not in free else ""
                dtype = "" if tensor is None else tensor.dtype
                digest.update(f"{key} {shape} {dtype}".encode())
    return digest.hexdigest()[:20]


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, bool | int | float | str | torch.dtype)


def _joined(part: Part) -> "onnx.ModelProto":
    """Return the graph of a part out of those of its pieces."""
    whole, *others = [filled(piece) for piece in part.pieces]
    fixed = {*part.input_names, *part.output_names, *_tensors(part)}
    for number, piece in enumerate(others, 1):
        _rename(piece, fixed, f"/{number}")
        own, other = whole.graph, piece.graph
        known = {value.name for value in (*own.initializer, *own.input, *own.output)}
        own.initializer.extend(tensor for tensor in other.initializer if tensor.name not in known)
        own.input.extend(value for value in other.input if value.name not in known)
        own.node.extend(other.node)
        own.output.extend(other.output)
    return whole


def _rename(graph: "onnx.ModelProto", fixed: set[str], suffix: str) -> None:
    """Add a suffix to all names of nodes and tensors but the fixed ones and ''."""

    def renamed(names: Any) -> list[str]:
        return [name if name in fixed or not name else name + suffix for name in names]

    for node in graph.graph.node:
        node.name += suffix
        node.input[:], node.output[:] = renamed(node.input), renamed(node.output)
    for initializer in graph.graph.initializer:
        (initializer.name,) = renamed([initializer.name])


def _with_other_weights(part: Part) -> Part:
    """Return a copy with weights no two of which are equal: the exporter would keep one."""
    other = copy.deepcopy(part)
    generator = torch.Generator().manual_seed(0)
    for tensor in _tensors(other).values():
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator))
    return other


def _tensors(part: Part) -> dict[str, Tensor]:
    return {**dict(part.named_parameters()), **dict(part.named_buffers())}


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()
    return bytes(flat.view(torch.uint8).numpy().tobytes())
