"""Writes the parts of a network as ONNX, each in the form that an engine wants."""

import contextlib
import hashlib
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rmpsam_ros.export.forms import DTYPES, ExportForm, GraphPart
from rmpsam_ros.export.quantize import has_int8, quantize
from rmpsam_ros.export.templates import filled
from rmpsam_ros.model.deform_conv import DeformConv2d
from rmpsam_ros.model.inference_form import InferenceForm

if TYPE_CHECKING:
    import onnx

PACKAGES = ("torch", "onnx", "onnxscript")


class HasInferenceForm(Protocol):
    """A network that can be exported."""

    def inference_form(self, compute: torch.dtype = ...) -> InferenceForm:
        """Return a copy in the form in which it is executed fastest."""
        ...


def export_graph(
    model: HasInferenceForm,
    part: GraphPart,
    form: ExportForm,
    frames: Sequence[NDArray[np.float32]] | None = None,
) -> "onnx.ModelProto":
    """Write one part of a network; every axis that its shapes name is dynamic.

    What the parts are, with their inputs and outputs, is said where the model's inference form
    is made: `rmpsam_ros.model.network_parts`, `rmpsam_ros.model.sam.inference_form`. All inputs
    and outputs are float32. Nodes are named after the module that they come from.

    Args:
        frames: preprocessed real frames, (1, 3, H, W), that quantised forms measure the ranges
            of activations on; a handful suffices.

    Raises:
        ValueError: the model has no such part, or the form does not exist for it.
    """
    import onnx

    if (form.quantization == "none") != (frames is None):
        raise ValueError("frames to calibrate on are needed for quantised forms, and only there")
    if form.quantization != "none" and not has_int8(model):
        raise ValueError("this network has no form in eight bits")
    module = model.inference_form(DTYPES[form.compute]).part(part)
    for layer in module.modules():
        if isinstance(layer, DeformConv2d):
            layer.as_onnx_operator = form.deform_conv == "operator"
    graph = filled(module)
    if form.quantization != "none":
        assert frames is not None
        quantized = quantize(graph.SerializeToString(), frames, form.quantization)
        graph = onnx.load_model_from_string(quantized)
    onnx.helper.set_model_props(graph, {"part": part, "form": str(form)})
    return graph


def export_files(
    model: HasInferenceForm,
    folder: Path,
    form: ExportForm,
    frames: Sequence[NDArray[np.float32]] | None = None,
) -> list[Path]:
    """Write all parts into ``folder`` as ``rmpsam_<part>.onnx`` and return their paths."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in GRAPH_PARTS:
        path = folder / f"rmpsam_{part}.onnx"
        if part in ("encoder", "frame"):
            graph = export_graph(model, part, form, frames)
        else:  # decoders are the same in every precision
            graph = export_graph(model, part, ExportForm(form.deform_conv))
        onnx.save(graph, path)
        paths.append(path)
    return paths


GRAPH_PARTS: tuple[GraphPart, ...] = (
    "encoder",
    "decoder",
    "prompt_decoder",
    "tube_decoder",
    "frame",
)


def exporter_key() -> dict[str, str]:
    """Return what graphs depend on besides network and form: packages and source code."""
    digest = hashlib.sha256()
    for package in ("rmpsam_ros.model", "rmpsam_ros.export"):
        folder = Path(str(resources.files(package)))
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".py", ".gz"):
                digest.update(file.name.encode() + file.read_bytes())
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {**versions, "sources": digest.hexdigest()}
