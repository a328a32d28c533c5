"""In which form a network is written as ONNX, for the library that will execute it."""

from dataclasses import dataclass
from typing import Literal

import torch

Compute = Literal["fp32", "fp16", "bf16"]
Quantization = Literal["none", "u8s8", "s8s8"]
END_OF_STEM = "end of the stem"
"""Note at a node: reduced precision before it costs more than it gains in speed."""

OPSET = 19
"""Of all graphs: the first that has DeformConv, and scales in half precision.

Never more: from 20 on TensorRT before 11.2 misreads GridSample without a word.
"""

GraphPart = Literal["encoder", "decoder", "prompt_decoder", "tube_decoder", "frame"]

DTYPES: dict[Compute, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


@dataclass(frozen=True, slots=True)
class ExportForm:
    """What differs between the graphs of different engines.

    Only backbone and neck change their precision. Sampling positions of the deformable
    convolutions, the decoder with its hard masks, and all outputs are float32 in every form.

    Attributes:
        deform_conv: ``operator`` writes the ONNX operator DeformConv, which ONNX Runtime has on
            CPUs; ``grid_sample`` the same samples with GridSample, for TensorRT and OpenVINO.
        compute: number format of the convolutions that are not quantised.
        quantization: ``u8s8`` gives activations 8 unsigned bits (ONNX Runtime, OpenVINO),
            ``s8s8`` signed ones (TensorRT); weights are signed, one scale per output channel.
    """

    deform_conv: Literal["operator", "grid_sample"]
    compute: Compute = "fp32"
    quantization: Quantization = "none"

    @property
    def opset(self) -> int:
        """ONNX opset of the graph."""
        return OPSET

    @property
    def precision(self) -> str:
        """The precision to report for an engine that executes this form."""
        return self.compute if self.quantization == "none" else "int8"

    def __str__(self) -> str:
        return f"{self.deform_conv}-{self.compute}-{self.quantization}-opset{OPSET}"
