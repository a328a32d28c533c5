"""The demo model's backbone, and its relative without Lite0, as an ONNX graph."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from rmpsam_ros.model import RmpSam, build_model, random_text_embeddings
from rmpsam_ros.runtime.calibrate import calibrate
from rmpsam_ros.runtime.export import export_graph
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.neck_graph import feature_lift


@pytest.fixture(scope="module", params=["rmpsam_tiny_vit", "rmpsam_tiny_vit_lite0"])
def tiny_vit(request) -> RmpSam:
    """With weights that make every part count: no zero biases, no neutral norms."""
    torch.manual_seed(5)
    model = build_model(request.param)
    model.set_text_embeddings(random_text_embeddings("tiny", 3, 1))
    with torch.no_grad():
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
            if hasattr(module, "attention_biases"):
                module.attention_biases.normal_()
        for projection in getattr(model.backbone, "projections", ()):
            projection[1].weight.normal_(std=0.1)
            projection[1].bias.normal_()
        if model.object_adapter.name_branch is not None:
            model.object_adapter.name_branch[-1].weight.normal_(std=0.5)
            model.object_adapter.name_branch[-1].bias.normal_()
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


def test_the_first_pooling_of_the_graphs_is_over_the_boxes(tiny_vit):
    """Objects, prompts, both in one pass, and tubes; two stages later errors would be chaos."""
    model = copy.deepcopy(tiny_vit)
    del model.decoder.stages[1:]
    image = np.random.default_rng(2).normal(size=(2, 3, 160, 96)).astype(np.float32)
    boxes = np.array([[[0.2, 0.3, 0.7, 0.6], [0.5, 0.5, 0.52, 0.51]]] * 2, np.float32)
    with torch.inference_mode():
        features = model.features(torch.from_numpy(image))
        objects, prompts = model.decode(features, torch.from_numpy(boxes))
        tube = model.decode_objects(features, frames=2)
    expected = {
        "mask_logits": objects.mask_logits,
        "class_logits": objects.class_logits,
        "prompt_mask_logits": prompts.mask_logits,
        "prompt_iou": prompts.iou[..., 0],
    }
    form = ExportForm("operator")
    together = _run(export_graph(model, "frame", form), image=image, boxes=boxes)
    compact = {"features": together["features"]}
    alone = _run(export_graph(model, "prompt_decoder", form), **compact, boxes=boxes)
    without = _run(export_graph(model, "decoder", form), **compact, boxes=boxes[:, :0])
    over_time = _run(export_graph(model, "tube_decoder", form), **compact)
    for name, tensor in expected.items():
        for outputs in (together, alone, without):
            if name in outputs and outputs[name].size:
                _assert_close(outputs[name], tensor)
    _assert_close(over_time["mask_logits"], tube.mask_logits)


def _run(graph, **inputs):
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def _assert_close(actual, expected):
    expected = expected.numpy()
    assert actual.shape == expected.shape
    errors = np.abs(actual - expected)
    assert np.median(errors) < 1e-4 * np.abs(expected).max()
    assert np.mean((actual > 0) == (expected > 0)) > 0.999


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
