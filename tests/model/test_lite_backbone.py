"""EfficientNet-Lite0 as the backbone of rmpsam_lite."""

from __future__ import annotations

import pytest
import torch

from rmpsam_ros.model import CheckpointError, build_model, packaged_weights, with_frozen_parts
from rmpsam_ros.model.checkpoint import read_state_dict
from rmpsam_ros.model.lite_backbone import Lite0Backbone
from rmpsam_ros.model.neck import Neck
from rmpsam_ros.model.packaged import PRETRAINED_PARTS, is_frozen, pretrained_tensors
from rmpsam_ros.model.tiny_vit_backbone import lite0_normalization, position_waves
from rmpsam_ros.training.network import build_network, make_class_table

NAME = "rmpsam_lite"


def test_maps_have_the_promised_sizes() -> None:
    backbone = Lite0Backbone()
    maps = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(level.shape) for level in maps] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(Lite0Backbone.out_channels, (4, 8, 16, 32), strict=True)
    ]
    assert torch.equal(maps[0][:, 24:], position_waves(maps[0]))


def test_the_trunk_sees_its_own_pixels() -> None:
    backbone, images = Lite0Backbone(), torch.randn(1, 3, 32, 32)
    scale, shift = lite0_normalization()
    with torch.inference_mode():
        expected = backbone.trunk(images * scale + shift)
        for level, own in zip(expected, backbone(images), strict=True):
            torch.testing.assert_close(own[:, : level.shape[1]], level)


@pytest.mark.parametrize("widths", [(), (6, 8, 10, 12)])
def test_widths_of_the_neck(widths: tuple[int, ...]) -> None:
    neck = Neck((8, 12, 16, 20), aggregation_dim=4, out_dim=7, widths=widths)
    expected = widths or (4, 6, 8, 10)
    assert tuple(conv.out_channels for conv in neck.lateral_convs)[::-1] == expected
    levels = [torch.randn(1, 8 + 4 * i, 16 >> i, 24 >> i) for i in range(4)]
    assert neck(levels).shape == (1, 7, 16, 24)


def test_the_whole_network_answers() -> None:
    model = build_model(NAME, make_class_table(5, 0))
    with torch.inference_mode():
        objects = model(torch.randn(2, 3, 64, 96))
        features = model.features(torch.randn(1, 3, 64, 96))
        prompts = model.decode_prompts(features, torch.tensor([[[0.1, 0.2, 0.5, 0.6]]]))
    assert objects.class_logits.shape == (2, 100, 6)
    assert objects.mask_logits.shape == (2, 100, 16, 24)
    assert prompts.mask_logits.shape == (1, 1, 16, 24)
    assert model.anchored and model.object_adapter.name_branch is not None


def test_training_begins_with_the_weights_of_the_package() -> None:
    trunk = build_network(NAME, make_class_table(3, 0)).backbone.trunk
    stored = read_state_dict(packaged_weights("efficientnet_lite0"))
    own = trunk.state_dict()
    assert set(own) == set(stored)
    assert all(torch.equal(own[key], value.float()) for key, value in stored.items())


def test_they_are_the_networks_own_afterwards() -> None:
    """Trained: no frozen part, so they are in the files of trained weights, and learn."""
    model = build_model(NAME)
    assert with_frozen_parts(model, {}) == {}
    assert not any(is_frozen(key) for key in model.state_dict())
    model.features(torch.randn(1, 3, 64, 64)).sum().backward()
    gradients = {key: p.grad for key, p in model.backbone.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())


def test_a_package_with_another_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    part = PRETRAINED_PARTS[0]._replace(file="mobile_sam")
    monkeypatch.setattr("rmpsam_ros.model.packaged.PRETRAINED_PARTS", (part,))
    with pytest.raises(CheckpointError, match="is it EfficientNet-Lite0's"):
        pretrained_tensors(build_model(NAME))
