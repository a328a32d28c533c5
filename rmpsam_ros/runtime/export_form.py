"""`rmpsam_ros.export.forms` under its former name."""

from rmpsam_ros.export.forms import (
    END_OF_STEM,
    Compute,
    ExportForm,
    GraphPart,
    Quantization,
)

__all__ = ["END_OF_STEM", "Compute", "ExportForm", "GraphPart", "Quantization"]
