"""OpenVINO as an engine, where it is installed."""

from __future__ import annotations

import gc

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install openvino")

from rmpsam_ros.model import build_model, random_text_embeddings, with_frozen_parts
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.export import export_graph
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.neck_graph import feature_lift
from rmpsam_ros.runtime.onnx_engine import OnnxEngine, onnxruntime_form
from rmpsam_ros.runtime.openvino_engine import OpenVINOEngine
from rmpsam_ros.runtime.split_graph import is_stem, split_behind_samples

PARTS = ("encoder", "decoder", "prompt_decoder")


@pytest.fixture(scope="module")
def all_graphs(graphs) -> dict[str, bytes]:
    return {part: graphs(part, ExportForm("grid_sample")) for part in PARTS}


@pytest.fixture(scope="module")
def engine(all_graphs, info) -> OpenVINOEngine:
    return OpenVINOEngine(all_graphs, "fp32", 2, info)


@pytest.fixture(scope="module")
def reference(graphs, info) -> OnnxEngine:
    form = onnxruntime_form()
    return OnnxEngine(graphs("frame", form), graphs("prompt_decoder", form), 2, info)


def test_equals_onnxruntime(engine, reference, image, boxes):
    actual, expected = engine.run(image, boxes), reference.run(image, boxes)
    for part in ("objects", "prompts"):
        for name in type(getattr(actual, part)).__slots__:
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


def test_sampling_positions_keep_their_precision_in_bf16(all_graphs, engine, image, info):
    try:
        low = OpenVINOEngine(all_graphs, "bf16", 2, info)
    except EngineError as error:
        pytest.skip(str(error))
    full, reduced = engine.run(image).features, low.run(image).features
    error = np.sqrt(((reduced - full) ** 2).mean() / (full**2).mean())
    # With positions in bf16, too, it is three times as much.
    assert 1e-3 < error < 2.5e-2


@pytest.mark.parametrize("name", ["rmpsam_tiny_vit", "rmpsam_tiny_vit_lite0"])
def test_the_demo_backbone_runs_in_both_precisions(name, info, image, boxes):
    model = build_model(name, random_text_embeddings("openvino", 3, 1))
    tensors = with_frozen_parts(model, {})
    model.load_state_dict(tensors, strict=False)
    for projection in getattr(model.backbone, "projections", ()):
        torch.nn.init.normal_(projection[1].weight, std=0.01)
    form = ExportForm("grid_sample")
    parts = {part: export_graph(model, part, form).SerializeToString() for part in PARTS}
    pieces = split_behind_samples(onnx.load_model_from_string(parts["encoder"]))
    assert [is_stem(piece) for piece in pieces] == [True, *[False] * 4]
    outputs = []
    for precision in ("fp32", "bf16"):
        try:
            outputs.append(OpenVINOEngine(parts, precision, 2, info).run(image, boxes))
        except EngineError as error:
            assert precision == "bf16"
            pytest.skip(str(error))
    with torch.inference_mode():
        expected = model.features(torch.from_numpy(image)).numpy()
    full, low = (
        np.einsum("dc,bchw->bdhw", feature_lift(model), output.features) for output in outputs
    )
    assert np.abs(full - expected).max() < 1e-4 * np.abs(expected).max()
    assert 1e-4 < np.sqrt(((low - expected) ** 2).mean() / (expected**2).mean()) < 5e-2


def test_a_processor_without_bf16_is_an_error(all_graphs, info, monkeypatch):
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr("openvino.Core", Core)
    with pytest.raises(EngineError, match="no bf16"):
        OpenVINOEngine(all_graphs, "bf16", 2, info)


def test_nan_and_wrong_input_are_errors(engine, image):
    broken = image.copy()
    broken[0, 0, 3, 3] = np.nan
    with pytest.raises(EngineError, match="not finite"):
        engine.run(broken)
    with pytest.raises(EngineError, match="multiples of 32"):
        engine.run(image[..., :100])
    with pytest.raises(EngineError, match="does not accept the graph"):
        OpenVINOEngine({**dict.fromkeys(PARTS, b"")}, "bf16", 2, engine.info)
