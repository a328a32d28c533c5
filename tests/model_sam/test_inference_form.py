"""The form of the SAM family that is executed computes what the model computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rmpsam_ros.model.sam import PROMPT_MODELS, PromptModel, build_prompt_model

SMALLEST = "rwkv_sam_t"


def untrained(name: str) -> PromptModel:
    """With weights that make every part count."""
    torch.manual_seed(3)
    model = build_prompt_model(name)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            if hasattr(module, "attention_biases"):
                module.attention_biases.normal_()
            if hasattr(module, "layer_scale_1"):
                module.layer_scale_1.uniform_(0.2, 0.5)
                module.layer_scale_2.uniform_(0.2, 0.5)
    return model


def assert_same(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == SMALLEST else pytest.mark.exhaustive)
        for name in PROMPT_MODELS
    ],
)
@torch.inference_mode()
def test_both_parts_compute_what_the_model_computes(name):
    model = untrained(name)
    form = model.inference_form()
    image = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(2))
    embedding = model.encode(image)
    kept = form.part("encoder")(image)
    expected = embedding.features + model.prompt_encoder.without_mask()
    assert_same(kept[0], expected.flatten(2).transpose(1, 2), 2e-5)
    if embedding.high_res is not None:
        assert_same(kept[-1], embedding.high_res, 2e-5)


@pytest.mark.parametrize("name", ["mobile_sam", SMALLEST])
@pytest.mark.parametrize("has_mask", [0.0, 1.0])
@torch.inference_mode()
def test_the_decoder_in_float64(name, has_mask):
    model = untrained(name).double()
    form = model.inference_form(torch.float64)
    generator = torch.Generator().manual_seed(1)

    def rand(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    features = rand(1, 256, 64, 64) - 0.5
    high_res = () if model.mask_decoder.fusion is None else (rand(1, 64, 256, 256),)
    points, labels = 1000 * rand(2, 3, 2), torch.tensor([[1, 0, -1], [1, 2, 3]])
    masks, share = 10 * rand(2, 1, 256, 256) - 5, torch.full((2,), has_mask).double()
    prompts = model.prompt_encoder
    dense = prompts.embed_masks(masks) if has_mask else prompts.without_mask()
    expected = model.mask_decoder(
        features + dense, prompts.image_position(), prompts(points, labels), *high_res
    )
    network = form.network
    cells = features.flatten(2).transpose(1, 2) + network.no_mask
    looks = network.decoder.transformer.layers[0].looks(cells, None)
    part = form.part("decoder")
    given = (cells, *looks, *high_res, points, labels.double(), masks, share)
    assert len(given) == len(part.input_names)
    for actual, wanted in zip(part(*given), expected, strict=True):
        assert_same(actual, wanted, 1e-6)


def test_names_and_shapes_follow_the_model():
    plain, fused = (untrained(name).inference_form() for name in ("mobile_sam", SMALLEST))
    assert plain.part("encoder").output_names == ("cells", "keys", "values", "queries")
    assert fused.part("encoder").output_names[-1] == "high_res"
    assert plain.part("decoder").outputs["iou"] == ("prompts", 4)
    assert fused.part("decoder").outputs["iou"] == ("prompts", 1)
    prompts = ("points", "labels", "mask_input", "has_mask")
    for form in (plain, fused):
        names = form.part("decoder").input_names
        assert names == (*form.part("encoder").output_names, *prompts)


def test_the_encoder_in_half_precision_keeps_its_norms():
    low = untrained("mobile_sam").inference_form(torch.float16)
    for name, module in low.network.image_encoder.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight.dtype == torch.float16, name
        elif isinstance(module, nn.LayerNorm):
            assert module.weight.dtype == torch.float32, name
    assert all(p.dtype == torch.float32 for p in low.network.decoder.parameters())
