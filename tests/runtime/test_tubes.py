"""Tubes of frames: every engine decodes them as the PyTorch network does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from small_engines import ONNXRUNTIME, TUBE_PARTS
from small_engines import onnx_engine as make_onnx_engine
from small_engines import openvino_engine as make_openvino_engine
from small_engines import torch_engine as make_torch_engine

from rmpsam_ros.export import export_graph
from rmpsam_ros.model.anchors import grid_cells
from rmpsam_ros.runtime import EngineConfig, load_engine
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.precision import preprocessed_frames

LIMITS = (128, 96)
FRAMES = 3


@pytest.fixture(scope="module")
def torch_engine(network):
    return make_torch_engine(network)


@pytest.fixture(scope="module")
def onnx_engine(graphs):
    return make_onnx_engine(graphs, parts=TUBE_PARTS)


@pytest.fixture(scope="module")
def openvino_engine(graphs):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    return make_openvino_engine(graphs, parts=TUBE_PARTS)


@pytest.fixture(params=["torch", "onnx", "openvino"])
def engine(request):
    return request.getfixturevalue(f"{request.param}_engine")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Real frames of one size."""
    images = [image for image, _ in preprocessed_frames(8, limits=LIMITS)]
    return [image for image in images if image.shape == images[0].shape][:FRAMES]


@pytest.mark.parametrize("length", [1, 2, FRAMES])
def test_a_tube_is_decoded_as_the_network_does(engine, network_double, frames, length):
    frames = frames[:length]
    assert len(frames) == length
    tube = engine.decode_tube([engine.run(image).features for image in frames])
    with torch.inference_mode():
        features = network_double.features(torch.from_numpy(np.concatenate(frames)).double())
        expected = network_double.decode_objects(features, frames=length)
    masks = expected.mask_logits[0].numpy().reshape(100, length, *features.shape[2:])
    assert len(tube) == length
    for k, objects in enumerate(tube):
        errors = np.abs(objects.mask_logits - masks[:, k])
        assert np.median(errors) < 2e-3 and errors.mean() < 2e-2
        assert ((objects.mask_logits > 0) == (masks[:, k] > 0)).mean() > 0.999
        assert np.abs(objects.class_logits - expected.class_logits[0].numpy()).mean() < 5e-3
        assert np.abs(objects.queries - expected.queries[0].numpy()).mean() < 5e-4


def test_a_tube_of_one_frame_is_the_frame(engine, frames):
    output = engine.run(frames[0])
    (alone,) = engine.decode_tube([output.features])
    assert np.abs(alone.mask_logits - output.objects.mask_logits).max() < 1e-2
    assert np.abs(alone.queries - output.objects.queries).max() < 1e-3


def test_a_tube_of_an_anchored_network(network, frames):
    anchored = copy.deepcopy(network)
    anchored.cells = grid_cells(100)
    exported = make_onnx_engine(
        lambda part, form: export_graph(anchored, part, form).SerializeToString(),
        ONNXRUNTIME,
        TUBE_PARTS,
    )
    eager = make_torch_engine(anchored)
    both = [
        one.decode_tube([one.run(image).features for image in frames]) for one in (exported, eager)
    ]
    for actual, expected in zip(*both, strict=True):
        assert ((actual.mask_logits > 0) == (expected.mask_logits > 0)).mean() > 0.999
        assert np.abs(actual.queries - expected.queries).mean() < 5e-4


def test_frames_of_other_sizes_make_no_tube(engine, frames):
    smaller = engine.run(np.ascontiguousarray(frames[0][..., :64]))
    with pytest.raises(EngineError, match="frames of one size"):
        engine.decode_tube([engine.run(frames[0]).features, smaller.features])
    with pytest.raises(EngineError, match="one or more"):
        engine.decode_tube([])


def test_an_engine_for_single_frames_says_so(graphs, frames):
    engine = make_onnx_engine(graphs)
    with pytest.raises(EngineError, match="clip_frames"):
        engine.decode_tube([engine.run(frames[0]).features] * 2)


@pytest.mark.parametrize("clip_frames", [0, -3, 17])
def test_impossible_tubes_are_refused_at_start(clip_frames):
    with pytest.raises(EngineError, match=f"clip_frames is {clip_frames}; expected 1"):
        load_engine(EngineConfig(clip_frames=clip_frames), 7)


def test_a_configured_engine_decodes_tubes(frames, tmp_path):
    for name in ("onnxruntime", "torch"):
        config = EngineConfig(
            engine=name, device="cpu", num_threads=1, cache_folder=str(tmp_path), clip_frames=2
        )
        engine = load_engine(config, 7)
        assert name in engine.info.engine
        assert len(engine.decode_tube([engine.run(image).features for image in frames[:2]])) == 2
