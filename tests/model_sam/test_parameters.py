"""Names, shapes and numbers of the weights."""

from __future__ import annotations

import pytest
import torch
from sam_reference import Reference

from rmpsam_ros.model.folding import fold_batch_norm
from rmpsam_ros.model.sam import PROMPT_MODELS, build_prompt_model
from rmpsam_ros.model.sam.checkpoint import rename_official_keys
from rmpsam_ros.model.sam.repvit import RepVit
from rmpsam_ros.model.sam.rwkv import RwkvBackbone


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", PROMPT_MODELS)
def test_keys_and_shapes_are_the_official_ones(name: str, reference: Reference) -> None:
    own = {key: tuple(value.shape) for key, value in build_prompt_model(name).state_dict().items()}
    tensors = {k: torch.empty(s, device="meta") for k, s in reference.shapes(name).items()}
    official = {k: tuple(v.shape) for k, v in rename_official_keys(tensors).items()}
    if name == "rwkv_sam_t":  # officially it has no decoder
        own = {key: shape for key, shape in own.items() if not key.startswith("mask_decoder.")}
    assert own == official


def test_folded_keys_and_shapes_are_the_official_ones(reference: Reference) -> None:
    encoder = RepVit().eval()
    fold_batch_norm(encoder)
    own = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    assert own == reference.shapes("repvit_sam_encoder_fused")


def test_mobile_sam_has_10_13_million_parameters() -> None:
    model = build_prompt_model("mobile_sam")
    encoder = model.image_encoder
    classifier = count(encoder.norm_head) + count(encoder.head)
    assert (count(model), classifier) == (10_130_092, 321_640)
    assert count(encoder) == 6_065_532
    assert count(encoder.patch_embed) == 19_488
    assert [count(stage) for stage in encoder.layers] == [98_944, 448_232, 2_030_520, 2_473_940]
    assert count(encoder.neck) == 672_768
    assert count(model.prompt_encoder) == 6_220
    assert count(model.mask_decoder) == 4_058_340
    assert count(model.mask_decoder.transformer) == 3_291_264


def test_repvit_encoder_parameters_as_trained_and_folded() -> None:
    encoder = RepVit().eval()
    assert count(encoder) == 23_158_920
    fold_batch_norm(encoder)
    assert count(encoder) == 23_040_480


@pytest.mark.parametrize(
    ("widths", "parameters"),
    [
        ((32, 64, 192), 4_957_664),
        ((64, 128, 384), 19_727_296),
        ((128, 256, 768), 78_702_464),
    ],
)
def test_rwkv_backbone_parameters(widths: tuple[int, int, int], parameters: int) -> None:
    with torch.device("meta"):
        assert count(RwkvBackbone(widths)) == parameters


@pytest.mark.parametrize(
    ("name", "parameters"), [("rwkv_sam_s", 3_819_812), ("rwkv_sam_b", 3_889_444)]
)
def test_fusion_decoder_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(build_prompt_model(name).mask_decoder) == parameters


def test_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'sam_h'.*mobile_sam.*rwkv_sam_b"):
        build_prompt_model("sam_h")
