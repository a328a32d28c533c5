"""Every engine that runs on this CPU gives the results of the network on twenty real frames."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from small_engines import GRID_SAMPLE, onnx_engine, openvino_engine, torch_engine

from rmpsam_ros.runtime import (
    EngineConfig,
    EngineError,
    FrameOutput,
    ObjectOutput,
    PromptOutput,
    load_engine,
)
from rmpsam_ros.runtime.network import label_set_of, load_network
from rmpsam_ros.runtime.precision import (
    PROMPTS,
    Remembered,
    compare,
    panoptic_codes,
    preprocessed_frames,
    shortcomings,
)

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


@pytest.fixture(scope="module")
def frames() -> list[Any]:
    return preprocessed_frames(20, limits=(224, 160))


class ExactNetwork:
    """The network in float64. Random weights amplify rounding: two engines in fp32, PyTorch one
    of them, are each closer to this than to one another.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    def run(self, image: np.ndarray, boxes: np.ndarray) -> FrameOutput:
        prompts = torch.from_numpy(boxes)[None].double()
        with torch.inference_mode():
            features = self._network.features(torch.from_numpy(image).double())
            objects, answers = self._network.decode(features, prompts)
        fields = (objects.class_logits, objects.mask_logits, objects.queries)
        return FrameOutput(
            features=None,
            objects=ObjectOutput(*(tensor[0].float().numpy() for tensor in fields)),
            prompts=PromptOutput(
                answers.mask_logits[0].float().numpy(), answers.iou[0, :, 0].float().numpy()
            ),
        )


@pytest.fixture(scope="module")
def reference(network_double) -> Remembered:
    """The exact results, computed once per frame for all comparisons."""
    return Remembered(ExactNetwork(network_double))


@pytest.mark.parametrize(
    "make_engine",
    [
        onnx_engine,
        lambda graphs: onnx_engine(graphs, GRID_SAMPLE),
        pytest.param(openvino_engine, marks=needs_openvino),
    ],
)
def test_fp32_engines_agree_on_twenty_frames(graphs, frames, reference, make_engine):
    agreement = compare(make_engine(graphs), reference, frames)
    assert agreement.frames == 20
    assert agreement.pixels >= 0.995
    assert shortcomings(agreement, "fp32") == ""


def test_there_is_something_to_agree_on(frames, reference):
    covered = [
        (panoptic_codes(reference.run(image, PROMPTS).objects, geometry) > 0).mean()
        for image, geometry in frames
    ]
    assert np.mean(covered) > 0.5


@needs_openvino
def test_the_demo_model_in_bf16_agrees_with_fp32(frames, tmp_path):
    """The reduced precision that the node chooses for it, with weights that mean something."""
    config = EngineConfig(
        weights="demo",
        engine="openvino",
        precision="bf16",
        device="cpu",
        num_threads=1,
        cache_folder=str(tmp_path),
    )
    num_classes = label_set_of(config, "").num_classes
    network = load_network(config, num_classes, lambda line: None)
    demo = Remembered(torch_engine(network))
    try:
        engine = load_engine(config, num_classes)
    except EngineError as error:
        if "no precision 'bf16'" not in str(error):
            raise
        pytest.skip(str(error))
    try:
        assert engine.info.precision == "bf16"
        assert compare(engine, demo, frames).pixels >= 0.98
    finally:
        engine.close()
