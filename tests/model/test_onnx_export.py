"""The network leaves through the ONNX exporter in both forms of its deformable convolution."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rmpsam_ros.model import RmpSam, onnx_deform_conv
from rmpsam_ros.model.deform_conv import DEFORM_CONV_OPSET

onnx = pytest.importorskip("onnx", reason="the export needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the check runs the file")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript")


class JointPass(nn.Module):
    """Features, objects and prompts in one graph."""

    def __init__(self, model: RmpSam) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        objects, prompts = self.model.decode(self.model.features(images), boxes)
        return objects[:4] + prompts[:3]


@pytest.mark.parametrize("form", ["GridSample", "DeformConv"])
def test_exported_graph_computes_the_same(
    form: str, r18: RmpSam, data: Path, golden_network, tmp_path: Path
) -> None:
    """Exported with batch 2, run with 1 and 3 pictures that rounding cannot flip."""
    picture = np.load(data / "golden" / "image_r18_128x192.npz")["image_rgb"]
    images = golden_network.padded(golden_network.normalised(picture[None]), torch.float32)
    images = images.expand(3, -1, -1, -1).contiguous()
    boxes = torch.tensor([[[0.2, 0.2, 0.6, 0.7], [0.1, 0.3, 0.13, 0.35]]]).repeat(3, 1, 1)
    module = JointPass(r18).eval()
    with torch.inference_mode():
        expected = module(images, boxes)
    path = export(module, (images[:2], boxes[:2]), form, tmp_path)

    model = onnx.load(path)
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators[form] == 3
    assert operators["GridSample"] + operators["DeformConv"] == 3
    assert not {"If", "Loop", "NonZero"} & set(operators)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        feed = {"images": images[:batch].numpy(), "boxes": boxes[:batch].numpy()}
        for actual, wanted in zip(session.run(None, feed), expected, strict=True):
            np.testing.assert_allclose(actual, wanted[:batch].numpy(), atol=5e-3, rtol=0)


def export(module: nn.Module, inputs: tuple[Tensor, ...], form: str, folder: Path) -> Path:
    batch = torch.export.Dim("batch", min=1, max=16)
    arguments = {
        "dynamo": True,
        "dynamic_shapes": {"images": {0: batch}, "boxes": {0: batch}},
        "verbose": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "DeformConv":
            with onnx_deform_conv(module):
                program = torch.onnx.export(
                    module, inputs, opset_version=DEFORM_CONV_OPSET, **arguments
                )
        else:
            program = torch.onnx.export(module, inputs, opset_version=18, **arguments)
    path = folder / "model.onnx"
    program.save(path)
    return path


def test_operator_form_ends_with_its_context(r18: RmpSam) -> None:
    layers = [upsample.deform_conv for upsample in r18.neck.upsamples]
    with pytest.raises(RuntimeError, match="stop"), onnx_deform_conv(r18):
        assert all(layer.as_onnx_operator for layer in layers)
        raise RuntimeError("stop")
    assert not any(layer.as_onnx_operator for layer in layers)
