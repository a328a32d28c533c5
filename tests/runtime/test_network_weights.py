"""Weights by name, and what weights say about themselves: their model, labels and encoder."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rmpsam_ros.model import build_model, packaged_weights
from rmpsam_ros.runtime import EngineConfig, EngineError
from rmpsam_ros.runtime.network import label_set_of, load_network, resolve
from rmpsam_ros.segmentation.labels import Label, LabelSet, LabelSetError
from rmpsam_ros.training.network import build_network, make_class_table
from rmpsam_ros.training.state import export_weights

LABELS = LabelSet("pets", (Label(0, "cat", True, (1, 2, 3)), Label(1, "grass", False, (4, 5, 6))))


NAME = "rmpsam_tiny_vit_lite0"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Weights as `rmpsam train` writes them: no frozen parts inside, but model and labels."""
    torch.manual_seed(0)
    network = build_network(NAME, make_class_table(2, 0)).eval()
    for projection in network.backbone.projections:
        torch.nn.init.normal_(projection[1].weight, std=0.1)
    path = tmp_path_factory.mktemp("weights") / "pets.safetensors"
    export_weights(path, network, NAME, LABELS, {})
    return path, network


def test_weights_bring_their_model_their_labels_and_the_packaged_parts(tiny):
    path, network = tiny
    config = EngineConfig(weights=str(path))
    assert resolve(config).model == NAME
    assert label_set_of(config, "") == LABELS
    assert not any("encoder" in key or "lite0" in key for key in load_file(path))
    loaded = load_network(config, 2, print)
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected, features = network.features(image), loaded.features(image)
    # The file holds float16.
    assert (features - expected).abs().max() < 2e-2 * expected.abs().max()


def test_the_packaged_encoder_is_mobile_sam(tiny):
    _, network = tiny
    mobile_sam = load_file(packaged_weights("mobile_sam"))
    key = "encoder.patch_embed.seq.0.c.weight"
    own = network.backbone.state_dict()[key]
    stored = mobile_sam["image_encoder." + key.removeprefix("encoder.")]
    assert torch.equal(own, stored.float())


def test_an_encoder_in_the_file_is_the_one_that_counts(tiny, tmp_path):
    path, _ = tiny
    other = build_model(NAME)
    inside = {
        key: torch.full_like(value, 0.25) if value.is_floating_point() else value
        for key, value in other.state_dict().items()
        if key.startswith("backbone.encoder.")
    }
    complete = tmp_path / "complete.safetensors"
    save_file({**load_file(path), **inside}, complete, {"model": NAME})
    loaded = load_network(EngineConfig(weights=str(complete)), 2, print)
    assert float(loaded.backbone.state_dict()["encoder.patch_embed.seq.0.c.weight"].max()) == 0.25


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (EngineConfig(), EngineConfig(model="rmpsam_r18")),
        (EngineConfig(weights="random"), EngineConfig(model="rmpsam_r18")),
        (EngineConfig("rmpsam_r50", "random"), EngineConfig(model="rmpsam_r50")),
        (
            EngineConfig("rmpsam_r50", "/no/file.pth"),
            EngineConfig(model="rmpsam_r50", weights="/no/file.pth"),
        ),
    ],
)
def test_names_are_resolved(config, expected):
    assert resolve(config) == expected
    assert resolve(expected) == expected


def test_a_model_that_the_weights_are_not_of_is_refused(tiny):
    with pytest.raises(EngineError, match=f"of model {NAME}, not rmpsam_r18; leave model"):
        resolve(EngineConfig("rmpsam_r18", str(tiny[0])))


def test_labels_that_are_asked_for_win(tiny):
    path, _ = tiny
    assert label_set_of(EngineConfig(weights=str(path)), "youtube_vis_2019").num_classes == 40
    assert label_set_of(EngineConfig(), "").name == "coco_panoptic"


@pytest.mark.parametrize("text", ["{", '{"labels": 3}', json.dumps({"labels": [{"name": "x"}]})])
def test_a_label_set_in_weights_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "odd.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"label_set": text})
    with pytest.raises(LabelSetError, match=r"in weights '.*odd\.safetensors'"):
        label_set_of(EngineConfig(weights=str(path)), "")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(b"not at all")
    with pytest.raises(EngineError, match=r"odd\.safetensors is not a readable safetensors"):
        resolve(EngineConfig(weights=str(path)))
