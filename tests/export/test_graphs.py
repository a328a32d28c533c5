"""Exported graphs compute what the network computes in torch, at sizes that were not traced."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rmpsam_ros.export import END_OF_STEM, ExportForm, export_graph, exporter_key
from rmpsam_ros.model import MODEL_CONFIGS
from rmpsam_ros.model.sam import PROMPT_MODELS

OPERATOR, GRID_SAMPLE = ExportForm("operator"), ExportForm("grid_sample")
QUICK = "rmpsam_r18"
SIZES = (
    {"batch": 1, "height": 64, "width": 96, "prompts": 0, "frames": 1, "points": 2},
    {"batch": 1, "height": 96, "width": 32, "prompts": 1, "frames": 2, "points": 3},
    {"batch": 3, "height": 32, "width": 160, "prompts": 4, "frames": 3, "points": 5},
)


def slow_unless_quick(name: str, quick: str):
    return pytest.param(name, marks=() if name == quick else pytest.mark.exhaustive)


SEEDS = (4, 5, 6, 7, 8)


def run(graph: onnx.ModelProto, inputs: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return dict(zip([one.name for one in session.get_outputs()], values, strict=True))


def assert_agrees(graph: onnx.ModelProto, part, sizes: dict[str, int]) -> None:
    """For some input nearly all numbers agree to rounding.

    With random weights a pixel of a hard mask that flips by rounding may change a query, which is
    1 % of all numbers. Another input has no such pixel; an operator that is translated wrongly
    agrees for none.
    """
    sizes = sizes | {"mask_height": sizes["height"] // 4, "mask_width": sizes["width"] // 4}
    found: list[list[str]] = []
    for seed in SEEDS:
        found.append(differences(graph, part, random_inputs(part, sizes, seed)))
        if not found[-1]:
            return
    pytest.fail(f"for none of {len(SEEDS)} inputs: {found}")


def random_inputs(part, sizes: dict[str, int], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = {
        name: torch.rand(
            [sizes[size] if isinstance(size, str) else size for size in shape],
            generator=generator,
        )
        for name, shape in part.inputs.items()
    }
    if "labels" in inputs:
        inputs["labels"] = (3 * inputs["labels"]).round() - 1
        inputs["points"] *= 1000
    return inputs


def differences(graph: onnx.ModelProto, part, inputs: dict[str, torch.Tensor]) -> list[str]:
    """A line for each output that differs; names and shapes must be right at once."""
    with torch.inference_mode():
        expected = part(*inputs.values())
    actual = run(graph, inputs)
    assert list(actual) == list(part.output_names)
    lines = []
    for name, tensor in zip(part.output_names, expected, strict=True):
        assert actual[name].shape == tensor.shape, name
        if not tensor.numel():
            continue
        errors = np.abs(actual[name] - tensor.numpy())
        largest = float(tensor.abs().max())
        median, share = np.median(errors) / largest, (errors <= 1e-3 * largest).mean()
        if not (median <= 1e-4 and share > 0.995):
            lines.append(f"{name}: median {median:.1e} of the largest, {share:.4f} agree")
    return lines


@pytest.mark.parametrize("form", [OPERATOR, GRID_SAMPLE], ids=str)
@pytest.mark.parametrize("name", [slow_unless_quick(name, QUICK) for name in MODEL_CONFIGS])
def test_whole_frames_agree_at_every_size(networks, graphs, name, form):
    part = networks(name).inference_form().part("frame")
    for sizes in SIZES:
        assert_agrees(graphs(name, "frame", form), part, sizes)


@pytest.mark.parametrize("kind", ["prompt_decoder", "tube_decoder"])
@pytest.mark.parametrize("name", [slow_unless_quick(name, QUICK) for name in MODEL_CONFIGS])
def test_decoders_alone_agree_at_every_size(networks, graphs, name, kind):
    part = networks(name).inference_form().part(kind)
    for sizes in SIZES:
        assert_agrees(graphs(name, kind, GRID_SAMPLE), part, sizes)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("name", PROMPT_MODELS)
def test_the_sam_family_agrees_for_every_number_of_prompts(networks, graphs, name, kind):
    part = networks(name).inference_form().part(kind)
    for sizes in SIZES[1 if kind == "decoder" else 2 :]:
        assert_agrees(graphs(name, kind, GRID_SAMPLE), part, sizes)


@pytest.mark.parametrize("form", [OPERATOR, GRID_SAMPLE], ids=str)
def test_operators_and_shapes_are_those_of_the_form(graphs, form):
    graph = graphs(QUICK, "frame", form)
    operators = {node.op_type for node in graph.graph.node}
    wanted, absent = ("DeformConv", "GridSample")[:: 1 if form is OPERATOR else -1]
    assert wanted in operators and absent not in operators
    assert not operators & {"BatchNormalization", "If", "Loop", "NonZero"}
    assert [(one.domain, one.version) for one in graph.opset_import] == [("", 19)]
    for node in graph.graph.node:
        if node.op_type == "GridSample":
            mode = next(a.s for a in node.attribute if a.name == "mode")
            assert mode == b"bilinear"  # "linear" is read as nearest by TensorRT before 11.2
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    assert shapes["image"] == ["batch", 3, "height", "width"]
    assert shapes["boxes"] == ["batch", "prompts", 4]
    assert shapes["class_logits"] == ["batch", 100, 4]
    assert shapes["mask_logits"] == ["batch", 100, "mask_height", "mask_width"]


def test_nodes_are_named_after_their_modules_and_nothing_of_the_machine_is_left(graphs):
    graph = graphs(QUICK, "frame", GRID_SAMPLE)
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("backbone.layer4.1.conv2/Conv") for name in names)
    assert any(name.startswith("decoder.stages.2.") for name in names)
    assert b"/home" not in graph.SerializeToString() and not graph.graph.node[0].metadata_props
    assert graph.ir_version == 9


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "stem"),
    [("rmpsam_tiny_vit_lite0", "lite0"), ("rmpsam_tiny_vit", "encoder.layers.0.blocks")],
)
def test_the_end_of_the_stem_is_noted(graphs, name, stem):
    nodes = list(graphs(name, "encoder", GRID_SAMPLE).graph.node)
    (end,) = (index for index, node in enumerate(nodes) if node.doc_string == END_OF_STEM)
    assert nodes[end].name.startswith(f"backbone.{stem}")
    assert not any(node.name.startswith(f"backbone.{stem}") for node in nodes[end + 1 :])


@pytest.mark.parametrize("compute", ["fp16", "bf16"])
def test_coordinates_masks_and_outputs_stay_fp32_in_half_precision(graphs, compute):
    graph = graphs(QUICK, "frame", ExportForm("grid_sample", compute))
    low = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[compute]
    inferred = onnx.shape_inference.infer_shapes(graph)
    types = {one.name: one.type.tensor_type.elem_type for one in inferred.graph.value_info}
    for node in graph.graph.node:
        if node.op_type in ("GridSample", "LayerNormalization", "Softmax", "MatMul"):
            assert types.get(node.output[0], onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT
    weights = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    for node in graph.graph.node:  # the weights of a deformable convolution, flattened
        if node.op_type == "Reshape" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    exact = [node.name for node in convolutions if weights[node.input[1]] != low]
    assert len(exact) == 3 and all("offset_conv" in name for name in exact)
    outputs = {one.type.tensor_type.elem_type for one in graph.graph.output}
    assert outputs == {onnx.TensorProto.FLOAT}


def test_the_same_network_gives_the_same_bytes(networks, graphs):
    again = export_graph(networks(QUICK), "frame", OPERATOR).SerializeToString()
    assert again == graphs(QUICK, "frame", OPERATOR).SerializeToString()


def test_an_unknown_part_or_form_is_refused(networks):
    with pytest.raises(ValueError, match="no part 'head'"):
        export_graph(networks(QUICK), "head", OPERATOR)  # type: ignore[arg-type]
    quantized = ExportForm("operator", quantization="u8s8")
    frames = [np.zeros((1, 3, 32, 32), np.float32)]
    with pytest.raises(ValueError, match="no form in eight bits"):
        export_graph(networks("rmpsam_tiny_vit"), "encoder", quantized, frames)
    with pytest.raises(ValueError, match="needed for quantised forms, and only there"):
        export_graph(networks(QUICK), "encoder", quantized)
    with pytest.raises(ValueError, match="needed for quantised forms, and only there"):
        export_graph(networks(QUICK), "encoder", OPERATOR, frames)


def test_the_key_names_versions_and_sources():
    key = exporter_key()
    assert key["torch"] == torch.__version__ or key["torch"] in torch.__version__
    assert {"torch", "onnx", "onnxscript", "sources"} <= set(key)
    assert len(key["sources"]) == 64
