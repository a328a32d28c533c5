"""The written graphs compute what the PyTorch network computes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rmpsam_ros.runtime.export import GRAPH_PARTS, export_files, export_graph
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.neck_graph import feature_lift

OPERATOR = ExportForm("operator")
GRID_SAMPLE = ExportForm("grid_sample")
FORMS = [OPERATOR, GRID_SAMPLE]


@lru_cache(maxsize=8)
def session_of(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def execute(graph: bytes, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = session_of(graph)
    return dict(
        zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True)
    )


def images(batch: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(batch, 3, height, width)).astype(np.float32)


def assert_masks_agree(actual: np.ndarray, expected: np.ndarray) -> None:
    """Nearly all logits agree to rounding; the hard masks inside may flip single pixels."""
    assert actual.shape == expected.shape
    errors = np.abs(actual - expected)
    assert np.median(errors) < 2e-3
    assert errors.mean() < 2e-2
    assert ((actual > 0) == (expected > 0)).mean() > 0.999


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("size", [(1, 96, 128), (2, 64, 160), (1, 32, 32)])
def test_encoder_gives_the_features(graphs, network_double, form, size):
    batch = images(*size)
    compact = execute(graphs("encoder", form), image=batch)["features"]
    features = np.einsum("dc,bchw->bdhw", feature_lift(network_double), compact)
    with torch.inference_mode():
        expected = network_double.features(torch.from_numpy(batch).double()).numpy()
    assert np.abs(features - expected).max() < 5e-5


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_frame_gives_objects_and_prompts(graphs, network_double, image, boxes, form):
    outputs = execute(graphs("frame", form), image=image, boxes=boxes[None])
    with torch.inference_mode():
        features = network_double.features(torch.from_numpy(image).double())
        objects, prompts = network_double.decode(features, torch.from_numpy(boxes[None]).double())
    assert_masks_agree(outputs["mask_logits"], objects.mask_logits.numpy())
    assert_masks_agree(outputs["prompt_mask_logits"], prompts.mask_logits.numpy())
    assert np.abs(outputs["class_logits"] - objects.class_logits.numpy()).mean() < 5e-3
    assert (outputs["class_logits"][..., -1] == 0).all()
    assert np.abs(outputs["queries"] - objects.queries.numpy()).mean() < 5e-4
    assert np.abs(outputs["prompt_iou"] - prompts.iou[..., 0].numpy()).max() < 1e-3


def test_parts_together_are_the_frame(graphs, image, boxes):
    whole = execute(graphs("frame", OPERATOR), image=image, boxes=boxes[None])
    features = execute(graphs("encoder", OPERATOR), image=image)["features"]
    np.testing.assert_array_equal(features, whole["features"])
    parts = execute(graphs("decoder", OPERATOR), features=features, boxes=boxes[None])
    late = execute(graphs("prompt_decoder", OPERATOR), features=features, boxes=boxes[None])
    assert late.keys() == {"prompt_mask_logits", "prompt_iou"}
    for name, values in {**parts, **late}.items():
        assert_masks_agree(values, whole[name])


@pytest.mark.parametrize("count", [0, 1, 16])
def test_prompts_are_optional_and_change_no_object(graphs, image, count):
    rng = np.random.default_rng(3)
    corners = np.sort(rng.uniform(size=(1, count, 2, 2)), axis=2).reshape(1, count, 4)
    without = execute(
        graphs("frame", OPERATOR), image=image, boxes=np.zeros((1, 0, 4), np.float32)
    )
    outputs = execute(graphs("frame", OPERATOR), image=image, boxes=corners.astype(np.float32))
    assert outputs["prompt_mask_logits"].shape == (1, count, 24, 32)
    assert outputs["prompt_iou"].shape == (1, count)
    assert_masks_agree(outputs["mask_logits"], without["mask_logits"])


def test_images_of_a_batch_do_not_influence_each_other(graphs, boxes):
    batch = images(2, 64, 96)
    both = execute(graphs("frame", OPERATOR), image=batch, boxes=np.stack([boxes, boxes[::-1]]))
    second = execute(graphs("frame", OPERATOR), image=batch[1:], boxes=boxes[None, ::-1])
    for name in second:
        assert_masks_agree(both[name][1:], second[name])


def test_all_seventeen_synonyms_count(network, graphs, image):
    """Class 0 has 17 different synonyms, the others are padded with copies of their first."""
    no_boxes = np.zeros((1, 0, 4), np.float32)
    logits = execute(graphs("frame", OPERATOR), image=image, boxes=no_boxes)["class_logits"]
    queries = execute(graphs("frame", OPERATOR), image=image, boxes=no_boxes)["queries"]
    with torch.inference_mode():
        embeddings = network.object_adapter.class_layer(torch.from_numpy(queries))
        expected = network.classifier(embeddings).numpy()
    assert np.abs(logits - expected).max() < 1e-3


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_operators_are_those_of_the_form(network, form):
    model = export_graph(network, "frame", form)
    operators = {node.op_type for node in model.graph.node}
    wanted, absent = ("DeformConv", "GridSample")[:: 1 if form is OPERATOR else -1]
    assert wanted in operators and absent not in operators
    assert "BatchNormalization" not in operators
    assert model.opset_import[0].version == form.opset < 20
    for node in model.graph.node:
        if node.op_type == "GridSample":
            mode = next(a.s for a in node.attribute if a.name == "mode")
            assert mode == b"bilinear"  # "linear" is read as nearest by TensorRT before 11.2


def test_every_dimension_that_may_change_is_dynamic(network):
    model = export_graph(network, "frame", OPERATOR)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes["image"] == ["batch", 3, "height", "width"]
    assert shapes["boxes"] == ["batch", "prompts", 4]
    assert shapes["class_logits"] == ["batch", 100, 8]
    assert shapes["mask_logits"] == ["batch", 100, "mask_height", "mask_width"]


def test_the_same_network_gives_the_same_bytes(network):
    first, second = (export_graph(network, "prompt_decoder", OPERATOR) for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


@pytest.mark.parametrize("compute", ["fp16", "bf16"])
def test_coordinates_masks_and_outputs_stay_fp32_in_half_precision(network, compute):
    model = export_graph(network, "frame", ExportForm("grid_sample", compute))
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }
    for node in inferred.graph.node:
        if node.op_type in (
            "GridSample",
            "LayerNormalization",
            "Softmax",
            "MatMul",
            "HardSigmoid",
        ):
            assert types.get(node.output[0], onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT
    low = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[compute]
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    in_low = [node for node in convolutions if weights[node.input[1]] == low]
    assert len(convolutions) - len(in_low) == 3  # the offsets of the three deformable layers
    assert all(output == onnx.TensorProto.FLOAT for output in
               (value.type.tensor_type.elem_type for value in model.graph.output))  # fmt: skip


def test_fp16_encoder_is_close(graphs, image):
    low = execute(graphs("encoder", ExportForm("grid_sample", "fp16")), image=image)["features"]
    full = execute(graphs("encoder", GRID_SAMPLE), image=image)["features"]
    error = np.sqrt(((low - full) ** 2).mean() / (full**2).mean())
    assert 1e-5 < error < 5e-3


def test_files_of_all_parts_are_written(network, tmp_path):
    paths = export_files(network, tmp_path / "new" / "folder", OPERATOR)
    assert [path.name for path in paths] == [f"rmpsam_{part}.onnx" for part in GRAPH_PARTS]
    for path in paths:
        onnx.checker.check_model(str(path))


def test_an_unknown_layer_is_refused(network_double):
    stage = network_double.decoder.stages[0]
    norm, stage.ffn_norm = stage.ffn_norm, torch.nn.Identity()
    try:
        with pytest.raises(ValueError, match=r"Identity where the exporter .* LayerNorm"):
            export_graph(network_double, "decoder", OPERATOR)
    finally:
        stage.ffn_norm = norm
