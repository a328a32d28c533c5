"""The second, frozen network beside TinyViT in the demo model."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.model import CheckpointError, build_model, packaged_weights, with_frozen_parts
from rmpsam_ros.model.checkpoint import read_state_dict
from rmpsam_ros.model.efficientnet_lite import EfficientNetLite0, SamePadConv2d
from rmpsam_ros.model.packaged import FROZEN_PARTS, frozen_tensors, is_frozen
from rmpsam_ros.model.tiny_vit_backbone import (
    TinyVitBackbone,
    TinyVitLite0Backbone,
    lite0_normalization,
)
from rmpsam_ros.segmentation.preprocess import MEAN, STD

NAME = "rmpsam_tiny_vit_lite0"


@pytest.fixture(scope="module")
def packaged() -> EfficientNetLite0:
    net = EfficientNetLite0()
    weights = read_state_dict(packaged_weights("efficientnet_lite0"))
    net.load_state_dict({key: value.float() for key, value in weights.items()})
    return net.eval()


def tensorflow_same(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Pad so that the output has ceil(size / stride) pixels, the odd one at the end."""
    pads = []
    for axis in (3, 2):
        size, stride, kernel = x.shape[axis], conv.stride[0], conv.kernel_size[0]
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [missing // 2, missing - missing // 2]
    return F.conv2d(F.pad(x, pads), conv.weight, conv.bias, conv.stride, groups=conv.groups)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_is_tensorflows(kernel: int, stride: int) -> None:
    conv = SamePadConv2d(4, 4, kernel, stride, groups=2)
    x = torch.randn(2, 4, 10, 14)
    torch.testing.assert_close(conv(x), tensorflow_same(x, conv))


def test_maps_have_the_promised_sizes(packaged: EfficientNetLite0) -> None:
    with torch.inference_mode():
        maps = packaged(torch.randn(2, 3, 64, 96))
    assert [tuple(one.shape) for one in maps] == [
        (2, 24, 16, 24),
        (2, 40, 8, 12),
        (2, 112, 4, 6),
        (2, 320, 2, 3),
    ]
    assert sum(p.numel() for p in packaged.parameters()) == 2_939_120
    assert not any(isinstance(module, nn.BatchNorm2d) for module in packaged.modules())


def test_packaged_weights_are_trained(packaged: EfficientNetLite0) -> None:
    """Maps of a picture with structure vary, in most channels, and are finite."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    picture = torch.stack((torch.sin(x / 5), torch.cos(y / 7), torch.sin((x + y) / 9)))[None]
    with torch.inference_mode():
        for level in packaged(picture):
            assert bool(level.isfinite().all())
            assert float((level[0].flatten(1).std(1) > 1e-2).float().mean()) > 0.9


def test_normalization_leads_from_one_to_the_other() -> None:
    pixels = torch.tensor([[0.0, 127.0, 255.0]] * 3)[:, :, None]
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    scale, shift = lite0_normalization()
    torch.testing.assert_close((pixels - mean) / std * scale + shift, (pixels - 127) / 128)


def test_before_training_the_function_is_that_of_tiny_vit_alone() -> None:
    torch.manual_seed(3)
    alone, both = TinyVitBackbone().eval(), TinyVitLite0Backbone().eval()
    missing, unexpected = both.load_state_dict(alone.state_dict(), strict=False)
    assert not unexpected and {key.split(".")[0] for key in missing} == {"lite0", "projections"}
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        for expected, actual in zip(alone(images), both(images), strict=True):
            torch.testing.assert_close(actual, expected)
        for projection in both.projections:
            nn.init.normal_(projection[1].weight)  # type: ignore[index, arg-type]
        for expected, actual in zip(alone(images), both(images), strict=True):
            assert float((actual - expected).abs().max()) > 1e-2


def test_only_what_is_not_frozen_learns() -> None:
    backbone = TinyVitLite0Backbone().train()
    for projection in backbone.projections:
        nn.init.normal_(projection[1].weight)  # type: ignore[index, arg-type]
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    torch.stack([level.mean() for level in backbone(torch.randn(2, 3, 64, 64))]).sum().backward()
    learning = {key.split(".")[0] for key, p in backbone.named_parameters() if p.grad is not None}
    assert learning == {"norms", "coarse", "projections"}
    changed = [k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])]
    assert changed and not any(is_frozen(f"backbone.{key}") for key in changed)


def test_frozen_parts_are_filled_from_the_package_unless_given(packaged) -> None:
    model = build_model(NAME)
    tensors = with_frozen_parts(model, {})
    assert {key for key in model.state_dict() if is_frozen(key)} == set(tensors)
    own = dict.fromkeys((key for key in tensors if ".lite0." in key), torch.zeros(1))
    mixed = with_frozen_parts(model, own)
    assert all(mixed[key] is own[key] for key in own)
    assert set(mixed) == set(tensors)
    assert with_frozen_parts(build_model("rmpsam_r18"), own) == own


@pytest.mark.parametrize("part", FROZEN_PARTS, ids=lambda part: part.file)
@pytest.mark.parametrize("change", ["missing", "shape"])
def test_a_file_of_something_else_is_refused(part, change: str) -> None:
    own = {f"{part.prefix}weight": torch.zeros(3)}
    stored = {} if change == "missing" else {f"{part.own_prefix}weight": torch.zeros(4)}
    message = rf"odd has no fitting '.*weight'; is it {part.made_by}"
    with pytest.raises(CheckpointError, match=message):
        frozen_tensors(own, part, stored, "odd")
