"""The SAM family as ONNX graphs: what they compute, how they are made, what TensorRT takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from rmpsam_ros.model.folding import fold_batch_norm
from rmpsam_ros.model.sam import PROMPT_MODELS, PromptModel, build_prompt_model
from rmpsam_ros.model.sam.bi_wkv import bi_wkv
from rmpsam_ros.model.sam.repvit import RepVit
from rmpsam_ros.model.sam.rwkv import RwkvBackbone, SpatialMix
from rmpsam_ros.runtime.engine import EngineError, EngineInfo
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.graph_builder import GraphBuilder
from rmpsam_ros.runtime.layer_graph import LayerWriter
from rmpsam_ros.runtime.onnx_engine import make_session
from rmpsam_ros.runtime.sam_engine import SamTorchEngine
from rmpsam_ros.runtime.sam_export import export_sam_graph, image_shapes
from rmpsam_ros.runtime.sam_onnx_engine import SamOnnxEngine
from rmpsam_ros.runtime.sam_rwkv_graph import RwkvGraph
from rmpsam_ros.runtime.sam_tensorrt_engine import MAX_TOKENS, sam_profiles
from rmpsam_ros.runtime.tensorrt_build import BuildSettings, build_plan
from rmpsam_ros.segmentation.prompt_types import MAX_POINTS

FORM = ExportForm("grid_sample")
INFO = EngineInfo("test", "fp32", "cpu", "model", "weights")
SMALLEST = "rwkv_sam_t"


def untrained(name: str) -> PromptModel:
    """With weights that make every part count."""
    torch.manual_seed(3)
    model = build_prompt_model(name)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            if hasattr(module, "attention_biases"):
                module.attention_biases.normal_()
            if hasattr(module, "layer_scale_1"):
                module.layer_scale_1.uniform_(0.2, 0.5)
                module.layer_scale_2.uniform_(0.2, 0.5)
    fold_batch_norm(model)
    return model


@pytest.fixture(scope="module")
def make_pair() -> Iterator[Callable[[str], tuple[SamTorchEngine, SamOnnxEngine]]]:
    """The same model in PyTorch and in ONNX Runtime; one pair is kept."""
    kept: dict[str, tuple[SamTorchEngine, SamOnnxEngine]] = {}

    def make(name: str) -> tuple[SamTorchEngine, SamOnnxEngine]:
        if name not in kept:
            kept.clear()
            model = untrained(name)
            encoder, decoder = (
                export_sam_graph(model, part, FORM).SerializeToString()
                for part in ("encoder", "decoder")
            )
            reference = SamTorchEngine(model, torch.device("cpu"), INFO)
            kept[name] = reference, SamOnnxEngine(encoder, decoder, 1, INFO)
        return kept[name]

    yield make


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 5e-5 * expected.abs().max()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == SMALLEST else pytest.mark.slow)
        for name in PROMPT_MODELS
        if name != "rwkv_sam_b"  # only wider than rwkv_sam_s
    ],
)
def test_every_kind_of_prompt_is_answered_as_in_pytorch(name, make_pair):
    reference, engine = make_pair(name)
    assert engine.supports_multimask == reference.supports_multimask
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, 1024, 1024, generator=generator)
    own, expected = engine.encode(image), reference.encode(image)
    assert own.nbytes >= expected.nbytes

    def rand(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator)

    boxes = torch.tensor([[100.0, 50.0, 900.0, 700.0], [0.0, 0.0, 1023.0, 30.0]])
    labels = torch.tensor([[1, 0, -1]])
    masks = 10 * rand(2, 1, 256, 256) - 5
    for prompt in (
        (1000 * rand(1, 1, 2), labels[:, :1]),
        (1000 * rand(1, 3, 2), labels),
        (None, None, boxes),
        (1000 * rand(2, 3, 2), labels.repeat(2, 1), boxes),
        (1000 * rand(2, 1, 2), labels[:, :1].repeat(2, 1), None, masks),
        (None, None, boxes, masks),
        (1000 * rand(9, 1, 2), labels[:, :1].repeat(9, 1)),  # more than are decoded together
    ):
        for multimask in (False, True)[: 1 + engine.supports_multimask]:
            logits, iou = engine.decode(own, *prompt, multimask=multimask)
            right, right_iou = reference.decode(expected, *prompt, multimask=multimask)
            assert_close(logits, right)
            assert_close(iou, right_iou)


def test_the_graphs_refuse_the_same_prompts(make_pair):
    reference, engine = make_pair(SMALLEST)
    image = torch.zeros(1, 3, 1024, 1024)
    features = engine.encode(image), reference.encode(image)
    point, label = torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.int64)
    for prompt, options in (
        ((None, None), {}),
        ((point, None), {}),
        ((point, 5 * label), {}),
        ((point.repeat(321, 1, 1), label.repeat(321, 1)), {}),
        ((point, label, None, torch.zeros(1, 1, 64, 64)), {}),
        ((point, label), {"multimask": True}),  # this model has one mask
    ):
        for one, kept in zip((engine, reference), features, strict=True):
            with pytest.raises(ValueError):
                one.decode(kept, *prompt, **options)


def test_an_image_of_another_size_is_an_error(make_pair):
    _, engine = make_pair(SMALLEST)
    with pytest.raises(EngineError, match="ONNX Runtime failed"):
        engine.encode(torch.zeros(1, 3, 512, 512))


class BiWkv:
    """One attention as a graph for maps of a size."""

    def __init__(self, mix: SpatialMix, size: tuple[int, int], form: ExportForm = FORM) -> None:
        graph = GraphBuilder(form.opset)
        tokens, width = size[0] * size[1], len(mix.spatial_decay)
        key, value = (graph.input(name, [1, tokens, width]) for name in ("key", "value"))
        writer = RwkvGraph(LayerWriter(graph, form, None), (16 * size[0], 16 * size[1]))
        graph.output(writer._bi_wkv(key, value, mix), "out", [1, tokens, width])
        self.model = graph.model("bi_wkv", {})

    def __call__(self, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        session = make_session(self.model.SerializeToString(), 1)
        (out,) = session.run(None, {"key": key.numpy(), "value": value.numpy()})
        return torch.from_numpy(out)


@pytest.mark.parametrize("size", [(8, 8), (16, 20), (64, 64)])
def test_bi_wkv_with_factors_by_chunk(size):
    generator = torch.Generator().manual_seed(2)
    width = 8
    mix = SpatialMix(width).requires_grad_(False)
    mix.spatial_decay.copy_(torch.linspace(-20, 20, width))
    mix.spatial_first.copy_(torch.linspace(-3, 3, width))
    key, value = (
        torch.randn(1, size[0] * size[1], width, generator=generator) * factor
        for factor in (3.0, 1.0)
    )
    expected = bi_wkv(
        mix.spatial_decay.double(), mix.spatial_first.double(), key.double(), value.double()
    )
    graph = BiWkv(mix, size)
    assert (graph(key, value) - expected).abs().max() < 2e-5
    # What depends on distance is stored for one chunk and for all chunks, not for all tokens.
    stored = sum(np.prod(one.dims) for one in graph.model.graph.initializer)
    assert stored < 12 * 2 * width * (64 + 64) + 4 * 64**2


def test_tokens_that_are_no_whole_chunks_are_refused():
    with pytest.raises(ValueError, match="15 tokens are no whole chunks"):
        BiWkv(SpatialMix(8), (3, 5))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: setattr(model, "image_encoder", nn.Identity()), "encoder Identity"),
        (lambda model: setattr(model, "image_encoder", RepVit()), "has a ConvNorm"),  # not folded
        (
            lambda model: setattr(
                model.image_encoder, "backbone", RwkvBackbone((32, 64, 192), position_grid=(8, 8))
            ),
            "table of positions",
        ),
    ],
)
def test_what_the_exporter_does_not_know_is_refused_rather_than_guessed(change, reason):
    model = untrained(SMALLEST)
    change(model)
    with pytest.raises(ValueError, match=reason):
        export_sam_graph(model, "encoder", FORM)


def test_the_same_weights_give_the_same_bytes_in_plain_operators():
    model = untrained(SMALLEST)
    for part in ("encoder", "decoder"):
        graph = export_sam_graph(model, part, FORM)
        again = export_sam_graph(model, part, FORM)
        assert graph.SerializeToString() == again.SerializeToString()
        operators = {node.op_type for node in graph.graph.node}
        assert not operators & {"Loop", "Scan", "If", "NonZero", "BatchNormalization"}
        assert [entry.version for entry in graph.opset_import] == [19]
        onnx.checker.check_model(graph, full_check=True)


def test_the_profiles_hold_every_prompt_of_the_node():
    # All clicks of an object, the two corners of a box, and one point of padding.
    assert MAX_TOKENS >= MAX_POINTS + 3
    profiles = sam_profiles(image_shapes(untrained(SMALLEST)))
    (decoder,) = profiles["decoder"]
    assert decoder["points"].largest[:2] == decoder["labels"].largest
    graph = export_sam_graph(untrained(SMALLEST), "decoder", FORM)
    assert {entry.name for entry in graph.graph.input} == set(decoder)


@pytest.fixture(scope="module")
def rtx():
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT-RTX is not installed: see requirements/test-runtime.txt"
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "name", ["mobile_sam", pytest.param("repvit_sam", marks=pytest.mark.slow), SMALLEST]
)
def test_tensorrt_reads_every_encoder(rtx, name, precision):
    graph = export_sam_graph(untrained(name), "encoder", ExportForm("grid_sample", precision))
    assert_parsed(rtx, graph)


@pytest.mark.parametrize("name", ["mobile_sam", SMALLEST])
def test_tensorrt_reads_every_decoder(rtx, name):
    assert_parsed(rtx, export_sam_graph(untrained(name), "decoder", FORM))


def assert_parsed(rtx, graph: onnx.ModelProto) -> None:
    logger = rtx.Logger(rtx.Logger.ERROR)
    network = rtx.Builder(logger).create_network(0)
    parser = rtx.OnnxParser(network, logger)
    parsed = parser.parse(graph.SerializeToString())
    assert parsed, [parser.get_error(index).desc() for index in range(parser.num_errors)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part", "precision"),
    [
        ("mobile_sam", "encoder", "fp16"),
        ("mobile_sam", "decoder", "fp32"),
        (SMALLEST, "encoder", "fp16"),
        (SMALLEST, "decoder", "fp32"),
    ],
)
def test_tensorrt_builds(rtx, name, part, precision):
    model = untrained(name)
    graph = export_sam_graph(model, part, ExportForm("grid_sample", precision))
    settings = BuildSettings(sam_profiles(image_shapes(model))[part], True, level=0)
    plan = build_plan(
        rtx, graph.SerializeToString(), settings, lambda line: None, threading.Event()
    )
    assert len(plan) > 1 << 20
