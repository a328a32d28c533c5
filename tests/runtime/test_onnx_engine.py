"""ONNX Runtime as an engine: results, memory of its results, wrong input."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from small_engines import onnx_engine, torch_engine

from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executors.onnxruntime_executor import OnnxRuntime, OnnxRuntimeExecutor
from rmpsam_ros.runtime.panoptic_engine import PanopticEngine

OUTPUTS = (
    ("objects", ("class_logits", "mask_logits", "queries")),
    ("prompts", ("mask_logits", "iou")),
)


@pytest.fixture(scope="module")
def engine(graphs) -> PanopticEngine:
    return onnx_engine(graphs)


@pytest.fixture(scope="module")
def reference(network) -> PanopticEngine:
    return torch_engine(network)


def test_equals_pytorch(engine, reference, image, boxes):
    actual, expected = engine.run(image, boxes), reference.run(image, boxes)
    for part, names in OUTPUTS:
        for name in names:
            a, b = getattr(getattr(actual, part), name), getattr(getattr(expected, part), name)
            assert a.shape == b.shape and a.dtype == b.dtype == np.float32
            assert np.abs(a - b).mean() < 2e-2, name


def test_late_prompts_equal_early_ones(engine, image, boxes):
    early = engine.run(image, boxes)
    frame = engine.run(image)
    assert frame.prompts is None
    late = engine.decode_prompts(frame.features, boxes)
    assert np.abs(late.mask_logits - early.prompts.mask_logits).mean() < 2e-2
    assert np.abs(late.iou - early.prompts.iou).max() < 1e-3


def test_no_boxes_is_no_prompts(engine, image):
    assert engine.run(image, np.zeros((0, 4), np.float32)).prompts is None


def test_results_and_features_outlive_later_runs(engine, image, boxes):
    first = engine.run(image, boxes)
    kept = first.objects.mask_logits.copy()
    prompts = engine.decode_prompts(first.features, boxes).mask_logits.copy()
    for shift in range(5):
        engine.run(np.roll(image, 8 * shift, axis=-1))
    gc.collect()
    np.testing.assert_array_equal(first.objects.mask_logits, kept)
    np.testing.assert_array_equal(
        engine.decode_prompts(first.features, boxes).mask_logits, prompts
    )


@pytest.mark.parametrize("size", [(32, 32), (64, 192), (160, 96)])
def test_any_size_in_any_order(engine, size):
    for height, width in (size, (96, 128), size):
        image = np.zeros((1, 3, height, width), np.float32)
        assert engine.run(image).objects.mask_logits.shape == (100, height // 4, width // 4)


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((1, 3, 90, 128), np.float32), "multiples of 32"),
        (np.zeros((3, 96, 128), np.float32), r"\(3, 96, 128\)"),
        (np.zeros((2, 3, 96, 128), np.float32), r"\(2, 3, 96, 128\)"),
        (np.zeros((1, 4, 96, 128), np.float32), r"\(1, 4, 96, 128\)"),
        (np.zeros((1, 3, 96, 128), np.float64), "float64"),
        (np.zeros((1, 3, 0, 128), np.float32), r"\(1, 3, 0, 128\)"),
    ],
)
def test_a_wrong_image_is_refused(engine, reference, image, what):
    for each in (engine, reference):
        with pytest.raises(EngineError, match=what):
            each.run(image)


@pytest.mark.parametrize(
    "boxes",
    [
        np.zeros((1, 2, 4), np.float32),
        np.zeros((2, 3), np.float32),
        np.zeros((2, 4), np.float64),
    ],
)
def test_wrong_boxes_are_refused(engine, reference, image, boxes):
    for each in (engine, reference):
        features = each.run(image).features
        with pytest.raises(EngineError, match="prompt boxes"):
            each.decode_prompts(features, boxes)
        with pytest.raises(EngineError, match="prompt boxes"):
            each.run(image, boxes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error_and_the_next_frame_is_fine(
    engine, reference, image, value
):
    broken = image.copy()
    broken[0, 1, 40, 50] = value
    for each in (engine, reference):
        before = each.run(image).objects.class_logits
        with pytest.raises(EngineError, match="not finite"):
            each.run(broken)
        np.testing.assert_allclose(each.run(image).objects.class_logits, before, atol=1e-3)


def test_something_else_than_a_graph_is_refused(graphs):
    graph = graphs("prompt_decoder", OnnxRuntime.forms["fp32"])
    for broken in (b"", b"no graph", graph[: len(graph) // 2]):
        with pytest.raises(EngineError, match="does not accept the graph"):
            OnnxRuntimeExecutor({"frame": broken, "prompt_decoder": graph}, 1)


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("1.24.4", "grid_sample"), ("1.25.0", "operator"), ("2.0", "operator")],
)
def test_an_older_onnxruntime_gets_the_form_it_has(graphs, monkeypatch, version, wanted):
    monkeypatch.setattr("onnxruntime.__version__", version)
    asked = []

    def graphs_in(form):
        asked.append(form.deform_conv)
        return {"prompt_decoder": graphs("prompt_decoder", form)}

    network = SimpleNamespace(seldom=())
    store = SimpleNamespace(graphs=graphs_in, num_threads=1, network=network)
    OnnxRuntime().load(store, "fp32", "").close()
    assert asked == [wanted]
