"""The demo model's backbone as an ONNX graph."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from rmpsam_ros.model import random_text_embeddings
from rmpsam_ros.runtime.calibrate import calibrate
from rmpsam_ros.runtime.export import export_graph
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.neck_graph import feature_lift
from rmpsam_ros.training.network import TinyVitRmpSam


@pytest.fixture(scope="module")
def tiny_vit() -> TinyVitRmpSam:
    """With weights that make every part count: no zero biases, no neutral norms."""
    torch.manual_seed(5)
    model = TinyVitRmpSam().eval()
    model.set_vocabulary(random_text_embeddings("tiny", 3, 1))
    with torch.no_grad():
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
            if hasattr(module, "attention_biases"):
                module.attention_biases.normal_()
    return model


@pytest.mark.parametrize("deform_conv", ["operator", "grid_sample"])
def test_features_equal_pytorch_at_any_size(tiny_vit, deform_conv):
    graph = export_graph(tiny_vit, "encoder", ExportForm(deform_conv))
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for size in ((1, 3, 64, 96), (2, 3, 96, 128), (1, 3, 128, 32)):
        image = np.random.default_rng(1).normal(size=size).astype(np.float32)
        (compact,) = session.run(None, {"image": image})
        features = np.einsum("dc,bchw->bdhw", feature_lift(tiny_vit), compact)
        with torch.inference_mode():
            expected = tiny_vit.features(torch.from_numpy(image)).numpy()
        assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_there_is_no_form_in_eight_bits_rather_than_a_false_one(tiny_vit):
    with pytest.raises(ValueError, match="no form in eight bits"):
        export_graph(tiny_vit, "encoder", ExportForm("operator", quantization="u8s8"), {})
    with pytest.raises(ValueError, match="no form in eight bits"):
        calibrate(tiny_vit, [])


def test_another_backbone_is_refused(network_double):
    backbone, network_double.backbone = network_double.backbone, nn.Identity()
    try:
        with pytest.raises(ValueError, match="does not know the backbone Identity"):
            export_graph(network_double, "encoder", ExportForm("operator"))
    finally:
        network_double.backbone = backbone
