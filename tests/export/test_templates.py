"""Graphs without weights are the same for all weights and vocabularies of a network."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rmpsam_ros.export import templates
from rmpsam_ros.model import (
    MODEL_CONFIGS,
    build_model,
    load_random_weights,
    random_text_embeddings,
)
from rmpsam_ros.model.sam import PROMPT_MODELS

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

import write_templates


def network(classes: int = 3, name: str = "rmpsam_r18"):
    model = build_model(name, random_text_embeddings("templates", classes, 2))
    load_random_weights(model)
    return model


def test_the_structure_depends_on_the_network_and_not_on_its_weights():
    model = network()
    keys = {part: templates.structure(model.inference_form().part(part)) for part in PARTS}
    assert len(set(keys.values())) == len(PARTS)
    for other in (build_model("rmpsam_r18"), network(classes=11)):
        for part, key in keys.items():
            assert templates.structure(other.inference_form().part(part)) == key
    low = model.inference_form(torch.float16)
    assert templates.structure(low.part("encoder")) != keys["encoder"]
    assert templates.structure(low.part("decoder")) == keys["decoder"]  # which stays fp32
    deeper = network(name="rmpsam_r50").inference_form()
    assert templates.structure(deeper.part("encoder")) != keys["encoder"]
    assert templates.structure(deeper.part("decoder")) == keys["decoder"]


PARTS = ("encoder", "decoder", "prompt_decoder", "tube_decoder")


@pytest.mark.parametrize("attribute", ["num_heads", "stride"])
def test_the_structure_depends_on_what_no_weight_shows(attribute):
    form = network().inference_form()
    part = form.part("decoder" if attribute == "num_heads" else "encoder")
    before = templates.structure(part)
    if attribute == "num_heads":
        form.network.decoder.stages[0].self_attention.num_heads = 4
    else:
        form.network.backbone.layer2[0].conv1.stride = (1, 1)
    assert templates.structure(part) != before


def test_a_template_is_filled_with_other_weights_and_another_vocabulary():
    """Of the part that is written fastest."""
    first = network().inference_form().part("tube_decoder")
    second = network(classes=7).inference_form().part("tube_decoder")
    with torch.no_grad():
        second.network.object_queries.mul_(0.5)
    assert templates.template(first) == templates.template(second)
    assert len(templates.template(first)) < 50_000
    features = torch.randn(2, 131, 8, 16)
    for part in (first, second):
        graph = templates.filled(part)
        onnx.checker.check_model(graph)
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        with torch.inference_mode():
            expected = part(features)[0].numpy()
        actual = session.run(["class_logits"], {"features": features.numpy()})[0]
        assert actual.shape == expected.shape
        assert np.median(np.abs(actual - expected)) < 1e-4 * np.abs(expected).max()


def test_a_large_constant_made_of_weights_is_refused(monkeypatch):
    part = network().inference_form().part("tube_decoder")
    graph = onnx.load_model_from_string(gzip.decompress(templates.template(part)))
    graph.graph.initializer[0].name = "computed"
    graph.graph.initializer[0].dims[:] = [100, 100]
    monkeypatch.setattr(templates, "exported", lambda part: graph)
    with pytest.raises(ValueError, match="computed the constant computed"):
        templates.written(part)


@pytest.mark.exhaustive
def test_the_templates_in_the_package_belong_to_its_networks():
    """One that does not is never found: ``tools/write_templates.py`` deletes it."""
    wanted = {
        f"{templates.structure(part)}.onnx.gz"
        for name in (*MODEL_CONFIGS, *PROMPT_MODELS)
        for _, part in write_templates.parts_of(name)
    }
    found = {path.name for path in Path(str(templates.FOLDER)).glob("*.onnx.gz")}
    assert found and found <= wanted
