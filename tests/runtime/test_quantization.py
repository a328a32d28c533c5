"""Eight bits: ranges from calibration, scales in the graph, and the error that is left."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from rmpsam_ros.runtime.calibrate import _Histogram, calibrate
from rmpsam_ros.runtime.export import export_graph
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.precision import preprocessed_frames

LIMITS = (160, 128)
U8S8 = ExportForm("operator", quantization="u8s8")
S8S8 = ExportForm("grid_sample", "fp32", "s8s8")


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [image for image, _ in preprocessed_frames(4, limits=LIMITS)]


@pytest.fixture(scope="module")
def ranges(network, images) -> dict[str, tuple[float, float]]:
    return calibrate(network, images[:2])


def features(graph: bytes, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(["features"], {"image": image})[0]


def test_every_activation_of_the_backbone_has_a_range(network, ranges):
    blocks = 8
    shortcuts = 3
    assert len(ranges) == 1 + 3 * blocks + shortcuts  # stem; inside, branch and end of each block
    for layer, (low, high) in ranges.items():
        assert low <= 0 < high
        assert (low < 0) == layer.endswith(("branch", "shortcut")), layer


@pytest.mark.parametrize("form", [U8S8, S8S8], ids=str)
def test_the_features_survive_eight_bits(network, graphs, ranges, images, form):
    quantized = export_graph(network, "encoder", form, ranges).SerializeToString()
    image = images[3]  # not among those of the calibration
    full = features(graphs("encoder", ExportForm("operator")), image)
    error = features(quantized, image) - full
    assert 1e-3 < np.sqrt((error**2).mean() / (full[:, :128] ** 2).mean()) < 0.15


def test_weights_take_a_quarter_of_the_memory(network, graphs, ranges):
    full = len(graphs("encoder", ExportForm("operator")))
    quantized = len(export_graph(network, "encoder", U8S8, ranges).SerializeToString())
    backbone = sum(weight.numel() for weight in network.backbone.parameters()) * 4
    assert quantized < full - 0.7 * backbone


def test_scales_are_per_output_channel_and_signed_as_the_form_says(network, ranges):
    for form, activation in ((U8S8, onnx.TensorProto.UINT8), (S8S8, onnx.TensorProto.INT8)):
        graph = export_graph(network, "encoder", form, ranges).graph
        weights = {tensor.name: tensor for tensor in graph.initializer}
        zero_points = {
            weights[node.input[2]].data_type for node in graph.node
            if node.op_type == "QuantizeLinear"
        }  # fmt: skip
        assert zero_points == {activation}
        per_channel = [
            node for node in graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in weights
        ]  # fmt: skip
        assert {weights[node.input[0]].data_type for node in per_channel} == (
            {onnx.TensorProto.INT8, onnx.TensorProto.INT32}
            if form is U8S8
            else {onnx.TensorProto.INT8}  # TensorRT takes no quantised bias
        )
        for node in per_channel:
            values = numpy_helper.to_array(weights[node.input[0]])
            scales = numpy_helper.to_array(weights[node.input[1]])
            assert scales.shape == values.shape[:1] and (scales > 0).all()
            if values.dtype == np.int8:
                assert np.abs(values).max() == 127


def test_outliers_are_clipped_only_where_that_pays():
    even, heavy = _Histogram(), _Histogram()
    values = np.random.default_rng(0).uniform(0, 4, 1_000_000).astype(np.float32)
    even.add(values)
    heavy.add(np.append(values, np.float32(11.0)))
    assert even.best_range()[1] == pytest.approx(4, rel=0.02)
    assert 3.5 < heavy.best_range()[1] < 6


def test_histograms_grow_with_the_values():
    histogram = _Histogram()
    assert histogram.best_range() == (0.0, 0.0)
    histogram.add(np.zeros(10, np.float32))
    assert histogram.best_range() == (0.0, 0.0)
    for scale in (1e-3, 1.0, 50.0):
        histogram.add(np.linspace(-scale, scale, 1000, dtype=np.float32))
    low, high = histogram.best_range()
    assert low == pytest.approx(-50, rel=0.1) and high == pytest.approx(50, rel=0.1)
    assert histogram._counts.sum() == 3010
