"""Engines on a real GPU; skipped where there is none (``make test-gpu`` runs them alone)."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import numpy as np
import pytest
import torch
from small_engines import INFO, TUBE_PARTS, torch_engine

from rmpsam_ros.runtime import EngineConfig, load_engine
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executors.cuda_graphs import MAX_LANES
from rmpsam_ros.runtime.executors.torch_executor import COMPUTE, TorchGraphExecutor
from rmpsam_ros.runtime.panoptic_engine import PanopticEngine
from rmpsam_ros.runtime.precision import compare, preprocessed_frames, shortcomings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
needs_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is None, reason="TensorRT is not installed"
)


@pytest.fixture(scope="module")
def reference(network) -> PanopticEngine:
    return torch_engine(network)


def graph_engine(network: Any, precision: str) -> PanopticEngine:
    device = torch.device("cuda", 0)
    form = network.inference_form(COMPUTE[precision]).to(device)
    parts = {part: form.part(part) for part in TUBE_PARTS}
    return PanopticEngine(TorchGraphExecutor(parts, device), INFO)


@pytest.fixture(scope="module")
def engine(network) -> PanopticEngine:
    return graph_engine(network, "fp32")


def test_cuda_graphs_equal_the_cpu(engine, reference, image, boxes):
    actual, expected = engine.run(image, boxes), reference.run(image, boxes)
    for part in ("objects", "prompts"):
        for name in ("class_logits", "mask_logits", "queries", "iou"):
            if hasattr(getattr(expected, part), name):
                a, b = getattr(getattr(actual, part), name), getattr(getattr(expected, part), name)
                assert a.shape == b.shape and np.abs(a - b).mean() < 2e-2, name
    late = engine.decode_prompts(actual.features, boxes)
    assert np.abs(late.mask_logits - actual.prompts.mask_logits).mean() < 2e-2


def test_replays_follow_the_input(engine, image):
    first = engine.run(image).objects.class_logits
    other = engine.run(np.flip(image, axis=-1).copy()).objects.class_logits
    assert np.abs(first - other).max() > 1e-2
    np.testing.assert_allclose(engine.run(image).objects.class_logits, first, atol=1e-4)


def test_a_batch_equals_single_frames(engine, boxes):
    images = [image for image, _ in preprocessed_frames(3, limits=(128, 96))]
    all_boxes = [None, boxes, boxes[:2]]
    for output, image, own in zip(
        engine.run_batch(images, all_boxes), images, all_boxes, strict=True
    ):
        alone = engine.run(image, own)
        assert np.abs(output.objects.class_logits - alone.objects.class_logits).mean() < 2e-2
        assert np.abs(output.objects.mask_logits - alone.objects.mask_logits).mean() < 2e-2
        assert (output.prompts is None) == (own is None)
        if own is not None:
            assert np.abs(output.prompts.mask_logits - alone.prompts.mask_logits).mean() < 2e-2


def test_many_shapes_and_prompts_in_turn(engine):
    for index in range(2 * MAX_LANES):
        width = 32 * (1 + index % (MAX_LANES + 1))
        boxes = np.tile(np.array([0, 0, 0.5, 0.5], np.float32), (index * 7, 1))
        output = engine.run(np.zeros((1, 3, 64, width), np.float32), boxes)
        assert output.objects.mask_logits.shape == (100, 16, width // 4)
        assert (output.prompts is None) == (index == 0)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_close(network, reference, image, precision):
    engine = graph_engine(network, precision)
    low = engine.run(image).features.float().cpu()
    full = reference.run(image).features
    error = ((low - full).square().mean() / full.square().mean()).sqrt()
    assert 1e-5 < error < (5e-3 if precision == "fp16" else 4e-2)
    engine.close()


def test_memory_stays_flat(engine, image):
    engine.run(image)
    before = torch.cuda.memory_allocated()
    for _ in range(50):
        engine.run(image)
    assert torch.cuda.memory_allocated() - before < 1 << 20


@needs_tensorrt
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_equals_fp32_pytorch(tmp_path_factory, precision, reference):
    folder = tmp_path_factory.mktemp("engines") / "cache"
    lines: list[str] = []
    options: dict[str, Any] = {"device": "cuda", "engine": "tensorrt", "precision": precision}
    config = EngineConfig(cache_folder=str(folder), **options)
    try:
        engine = load_engine(config, 7, lines.append)
    except EngineError as error:
        if precision == "fp32":
            raise
        pytest.skip(f"random weights are too sensitive for {precision}: {error}")
    agreement = compare(engine, reference, preprocessed_frames(2))
    assert not shortcomings(agreement, engine.info.precision) or "random" in engine.info.weights
    again: list[str] = []
    load_engine(config, 7, again.append)
    assert any("building the TensorRT" in line for line in lines)
    assert not any("building the TensorRT" in line for line in again)


@needs_tensorrt
def test_a_tensorrt_build_can_be_cancelled(tmp_path):
    cancelled = threading.Event()
    cancelled.set()
    config = EngineConfig(device="cuda", engine="tensorrt", cache_folder=str(tmp_path / "cache"))
    with pytest.raises(EngineError, match="cancelled"):
        load_engine(config, 7, cancelled=cancelled)
    assert not list((tmp_path / "cache").glob("*tensorrt*.engine"))
