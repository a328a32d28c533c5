"""From a network in torch to the graphs that ONNX Runtime, OpenVINO and TensorRT execute.

A network is defined once, in `rmpsam_ros.model`; what is exported is its inference form.

Examples:
    >>> from rmpsam_ros.export import ExportForm
    >>> from rmpsam_ros.model import build_model
    >>> form = build_model("rmpsam_lite").inference_form()
    >>> form.parts
    ('encoder', 'decoder', 'prompt_decoder', 'tube_decoder', 'frame')
    >>> form.part("encoder").inputs, form.part("encoder").output_names
    ({'image': ('batch', 3, 'height', 'width')}, ('features',))
    >>> ExportForm("grid_sample", compute="bf16").precision
    'bf16'
"""

from rmpsam_ros import telemetry
from rmpsam_ros.export.forms import END_OF_STEM, Compute, ExportForm, GraphPart, Quantization
from rmpsam_ros.export.graphs import (
    GRAPH_PARTS,
    HasInferenceForm,
    export_files,
    export_graph,
    exporter_key,
)
from rmpsam_ros.export.quantize import has_int8, quantize

__all__ = [
    "END_OF_STEM",
    "GRAPH_PARTS",
    "Compute",
    "ExportForm",
    "GraphPart",
    "HasInferenceForm",
    "Quantization",
    "export_files",
    "export_graph",
    "exporter_key",
    "has_int8",
    "quantize",
]

telemetry.switch_off()  # the libraries are imported when they are used
