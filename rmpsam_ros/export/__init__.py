"""From a network in torch to the graphs that ONNX Runtime, OpenVINO and TensorRT execute.

A network is defined once, in `rmpsam_ros.model`; what is exported is its inference form.
"""

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
