"""The halves of the models leave through the ONNX exporter and compute the same there."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from rmpsam_ros.model.sam import ImageEmbedding, PromptModel
from rmpsam_ros.model.sam.bi_wkv import bi_wkv
from rmpsam_ros.model.sam.graphs import DecoderGraph, EncoderGraph
from rmpsam_ros.model.sam.layers import fold_batch_norm
from rmpsam_ros.model.sam.prompt_encoder import join_prompts
from rmpsam_ros.model.sam.tiny_vit import TinyVit

onnx = pytest.importorskip("onnx", reason="the export needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the check runs the file")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript")


def export(module: nn.Module, inputs: tuple, path: Path, **options) -> set[str]:
    """Write the graph; return the kinds of its operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), inputs, path, dynamo=True, verbose=False, external_data=False, **options
        )
    return set(Counter(node.op_type for node in onnx.load(path).graph.node))


def run(path: Path, inputs: tuple) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})


def assert_same(actual: list[np.ndarray], expected: tuple) -> None:
    for a, b in zip(actual, expected, strict=True):
        scale = b.abs().max().item()
        np.testing.assert_allclose(a, b.numpy(), atol=1e-4 * scale, rtol=0)


class BiWkv(nn.Module):
    def forward(self, *inputs):
        return bi_wkv(*inputs)


def test_bi_wkv_has_no_loop_and_does_not_grow_with_the_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = (torch.linspace(-5, 3, 6), torch.randn(6), *torch.randn(2, 1, 300, 6).unbind(0))
    path = tmp_path / "bi_wkv.onnx"
    operators = export(BiWkv(), inputs, path)
    assert not operators & {"Loop", "Scan", "If"}
    assert len(onnx.load(path).graph.node) < 60
    assert_same(run(path, inputs), (bi_wkv(*inputs),))


@pytest.mark.slow
def test_decoder_with_any_number_of_prompts(
    mobile_sam: PromptModel, embedding: ImageEmbedding, tmp_path: Path
) -> None:
    graph = DecoderGraph(mobile_sam)

    def inputs(points: torch.Tensor, labels: torch.Tensor, has_mask: list[float]) -> tuple:
        joined = join_prompts(points, labels, None)
        masks = torch.linspace(-5, 5, 256 * 256).reshape(1, 1, 256, 256)
        masks = masks.expand(len(points), -1, -1, -1).contiguous()
        return (*joined, masks, torch.tensor(has_mask), embedding.features)

    prompts, tokens = Dim("prompts", max=320), Dim("tokens")
    both = {0: prompts, 1: tokens}
    path = tmp_path / "decoder.onnx"
    operators = export(
        graph,
        inputs(torch.full((2, 2, 2), 300.0), torch.tensor([[1, 0], [1, -1]]), [1.0, 0.0]),
        path,
        input_names=graph.input_names,
        output_names=list(graph.output_names),
        dynamic_shapes=(both, both, {0: prompts}, {0: prompts}, None),
    )
    assert not operators & {"Loop", "Scan", "If", "NonZero"}
    for points, labels, has_mask in (
        (torch.tensor([[[700.0, 200.0]]]), torch.tensor([[1]]), [0.0]),
        (1000 * torch.rand(3, 4, 2), torch.randint(0, 2, (3, 4)), [0.0, 1.0, 1.0]),
    ):
        given = inputs(points, labels, has_mask)
        actual = run(path, given)
        with torch.inference_mode():
            assert_same(actual, graph(*given))
        # The graph gives all masks; the model chooses from them.
        masks = given[2] if has_mask[0] else None
        if len(points) == 1:
            with torch.inference_mode():
                single = mobile_sam.decode(embedding, points, labels, None, masks)
                three = mobile_sam.decode(embedding, points, labels, None, masks, True)
            assert_same([actual[0][:, :1], actual[1][:, :1]], single)
            assert_same([actual[0][:, 1:], actual[1][:, 1:]], three)


@pytest.mark.slow
def test_encoder_with_windows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = TinyVit().eval()
    fold_batch_norm(encoder)
    images = torch.randn(1, 3, 128, 160)
    operators = export(encoder, (images,), tmp_path / "encoder.onnx")
    assert not operators & {"Loop", "Scan", "If", "BatchNormalization"}
    with torch.inference_mode():
        assert_same(run(tmp_path / "encoder.onnx", (images,)), (encoder(images),))


@pytest.mark.slow
def test_encoder_with_bi_wkv(rwkv_sam: PromptModel, tmp_path: Path) -> None:
    images = torch.randn(1, 3, 96, 128)
    operators = export(rwkv_sam.image_encoder, (images,), tmp_path / "encoder.onnx")
    assert not operators & {"Loop", "Scan", "If"}
    with torch.inference_mode():
        assert_same(run(tmp_path / "encoder.onnx", (images,)), rwkv_sam.image_encoder(images))


def test_encoder_graph_gives_the_tensors_of_the_embedding(rwkv_sam: PromptModel) -> None:
    graph = EncoderGraph(rwkv_sam)
    assert graph.output_names == ["features", "high_res"]
    images = torch.randn(1, 3, 1024, 1024)
    with torch.inference_mode():
        for a, b in zip(graph(images), rwkv_sam.encode(images), strict=True):
            assert torch.equal(a, b)


def test_names_follow_the_model(mobile_sam: PromptModel, rwkv_sam: PromptModel) -> None:
    assert EncoderGraph(mobile_sam).output_names == ["features"]
    assert DecoderGraph(mobile_sam).input_names[-1] == "features"
    assert DecoderGraph(rwkv_sam).input_names[-1] == "high_res"
