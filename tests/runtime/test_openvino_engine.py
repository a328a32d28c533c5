"""OpenVINO as an engine, where it is installed."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from small_engines import CPU, INFO, PARTS, onnx_engine, openvino_engine

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install openvino")

from rmpsam_ros.export import ExportForm, export_graph
from rmpsam_ros.model import build_model, random_text_embeddings, with_frozen_parts
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executors import openvino_executor
from rmpsam_ros.runtime.executors.openvino_executor import SPLIT, WHOLE, OpenVINO
from rmpsam_ros.runtime.executors.split_graph import is_stem, split_behind_samples
from rmpsam_ros.runtime.panoptic_engine import PanopticEngine

OUTPUTS = (
    ("objects", ("class_logits", "mask_logits", "queries")),
    ("prompts", ("mask_logits", "iou")),
)
needs_bf16 = pytest.mark.skipif(
    "bf16" not in OpenVINO().relative_times(CPU), reason="this processor has no bf16 arithmetic"
)


def load(graph, precision: str, mode: str = WHOLE) -> PanopticEngine:
    """An engine as the back end makes it of graphs by part and form."""
    network = SimpleNamespace(
        parts=PARTS,
        computes=frozenset({"encoder", "frame"}),
        stages={"frame": ("encoder", "decoder")},
    )
    store = SimpleNamespace(network=network, graph=graph, num_threads=1)
    return PanopticEngine(OpenVINO().load(store, precision, mode), INFO)


@pytest.fixture(scope="module")
def engine(graphs) -> PanopticEngine:
    return openvino_engine(graphs)


@pytest.fixture(scope="module")
def reference(graphs) -> PanopticEngine:
    return onnx_engine(graphs)


def test_equals_onnxruntime(engine, reference, image, boxes):
    actual, expected = engine.run(image, boxes), reference.run(image, boxes)
    for part, names in OUTPUTS:
        for name in names:
            a, b = getattr(getattr(actual, part), name), getattr(getattr(expected, part), name)
            assert a.shape == b.shape and a.dtype == b.dtype == np.float32
            assert np.abs(a - b).mean() < 2e-2, name
    late = engine.decode_prompts(actual.features, boxes)
    assert np.abs(late.mask_logits - actual.prompts.mask_logits).mean() < 2e-2


def test_any_size_and_number_of_prompts(engine):
    for height, width, count in ((64, 96, 0), (96, 64, 3), (64, 96, 1)):
        boxes = np.tile(np.array([0.1, 0.1, 0.6, 0.7], np.float32), (count, 1))
        output = engine.run(np.zeros((1, 3, height, width), np.float32), boxes)
        assert output.objects.mask_logits.shape == (100, height // 4, width // 4)
        assert (output.prompts is None) == (count == 0)


def test_results_outlive_later_runs(engine, image):
    first = engine.run(image)
    kept = first.objects.mask_logits.copy()
    for _ in range(3):
        engine.run(np.flip(image, axis=-1).copy())
    gc.collect()
    np.testing.assert_array_equal(first.objects.mask_logits, kept)


@needs_bf16
def test_sampling_positions_keep_their_precision_in_bf16(graphs, engine, image):
    low = load(graphs, "bf16", SPLIT)
    full, reduced = (one.run(image).features.numpy() for one in (engine, low))
    error = np.sqrt(((reduced - full) ** 2).mean() / (full**2).mean())
    # With positions in bf16, too, it is three times as much.
    assert 1e-3 < error < 2.5e-2


@needs_bf16
@pytest.mark.parametrize("name", ["rmpsam_tiny_vit", "rmpsam_tiny_vit_lite0"])
def test_the_demo_backbone_runs_in_both_precisions(name, image, boxes):
    model = build_model(name, random_text_embeddings("openvino", 3, 1))
    tensors = with_frozen_parts(model, {})
    model.load_state_dict(tensors, strict=False)
    for projection in getattr(model.backbone, "projections", ()):
        torch.nn.init.normal_(projection[1].weight, std=0.01)
    form = ExportForm("grid_sample")

    def graph(part: str, form: ExportForm) -> bytes:
        return export_graph(model, part, form).SerializeToString()

    pieces = split_behind_samples(onnx.load_model_from_string(graph("encoder", form)))
    assert [is_stem(piece) for piece in pieces] == [True, *[False] * 4]
    wanted = (("fp32", WHOLE), ("bf16", SPLIT))
    outputs = [load(graph, *one).run(image, boxes) for one in wanted]
    with torch.inference_mode():
        (expected,) = model.inference_form().part("encoder")(torch.from_numpy(image))
    full, low = (output.features for output in outputs)
    assert (full - expected).abs().max() < 1e-4 * expected.abs().max()
    assert 1e-4 < ((low - expected).square().mean() / expected.square().mean()).sqrt() < 5e-2


def test_a_processor_without_bf16_does_not_offer_it(monkeypatch):
    for capabilities, offered in (({"FP32", "INT8"}, False), ({"FP32", "BF16"}, True)):
        monkeypatch.setattr(openvino_executor, "_capabilities", lambda c=capabilities: c)
        assert ("bf16" in OpenVINO().relative_times(CPU)) == offered


def test_nan_and_wrong_input_are_errors(engine, image):
    broken = image.copy()
    broken[0, 0, 3, 3] = np.nan
    with pytest.raises(EngineError, match="not finite"):
        engine.run(broken)
    with pytest.raises(EngineError, match="multiples of 32"):
        engine.run(image[..., :100])
    with pytest.raises(EngineError, match="does not accept the graph"):
        load(lambda part, form: b"", "fp32")
