"""Parameter counts of every module (docs/reference/rmpsam.md, section 14)."""

from __future__ import annotations

import pytest

from rmpsam_ros.model import build_model

HEAD = {
    "object_queries": 25_600,
    "prompt_encoder.position_layer": 131_328,
    "prompt_encoder.label_embedding": 512,
    "prompt_encoder.mask_token": 256,
    "decoder": 7_310_595,
    "decoder.stages.1": 2_436_865,
    "decoder.stages.0.kernel_update": 463_104,
    "decoder.stages.0.self_attention": 263_168,
    "decoder.stages.0.self_attention_norm": 512,
    "decoder.stages.0.ffn": 1_050_880,
    "decoder.stages.0.ffn_norm": 512,
    "decoder.stages.0.class_branch": 66_048 + 328_960,
    "decoder.stages.0.mask_branch": 66_048,
    "decoder.stages.0.mask_kernel": 65_792,
    "decoder.stages.0.iou_branch": 131_841,
    "object_adapter.kernel_update": 463_104,
    "object_adapter.class_layer": 197_376,
    "prompt_adapter.attention": 263_168,
    "prompt_adapter.norm": 512,
    "prompt_adapter.iou_layer": 257,
    "classifier": 0,
    "neck.aggregation_bias": 128,
    "neck.output_conv": 147_584,
    "neck.location_conv": 33_536,
}

BOTTOM = {
    "rmpsam_r50": {
        "": 47_252_245,
        "backbone": 23_508_032,
        "backbone.layer1": 215_808,
        "backbone.layer2": 1_219_584,
        "backbone.layer3": 7_098_368,
        "backbone.layer4": 14_964_736,
        "neck": 15_351_505,
        "neck.lateral_convs.0": 2_098_176,
        "neck.lateral_convs.3": 32_896,
        "neck.upsamples.0": 9_163_803,
        "neck.upsamples.0.offset_conv": 248_859,
        "neck.upsamples.0.deform_conv": 4_718_592,
        "neck.upsamples.0.upsample_conv": 4_194_304,
        "neck.upsamples.1": 2_353_691,
        "neck.upsamples.2": 619_803,
        "neck.aggregation_convs.0": 131_072,
        "neck.aggregation_convs.3": 16_384,
    },
    "rmpsam_r18": {
        "": 20_827_445,
        "backbone": 11_176_512,
        "backbone.layer1": 147_968,
        "backbone.layer2": 525_568,
        "backbone.layer3": 2_099_712,
        "backbone.layer4": 8_393_728,
        "neck": 1_258_225,
        "neck.lateral_convs.0": 131_328,
        "neck.lateral_convs.3": 2_080,
        "neck.upsamples.0": 619_803,
        "neck.upsamples.0.offset_conv": 62_235,
        "neck.upsamples.0.deform_conv": 294_912,
        "neck.upsamples.0.upsample_conv": 262_144,
        "neck.upsamples.1": 170_651,
        "neck.upsamples.2": 50_523,
        "neck.aggregation_convs.0": 32_768,
        "neck.aggregation_convs.3": 4_096,
    },
}


@pytest.mark.parametrize("name", BOTTOM)
def test_parameter_counts(name: str) -> None:
    parameters = dict(build_model(name).named_parameters())
    for module, expected in (BOTTOM[name] | HEAD).items():
        own = [p for key, p in parameters.items() if f"{key}.".startswith(f"{module}.")]
        counted = sum(p.numel() for p in (own if module else parameters.values()))
        assert counted == expected, module


@pytest.mark.parametrize(("name", "expected"), [("rmpsam_r50", 56_763), ("rmpsam_r18", 10_522)])
def test_buffer_count(name: str, expected: int) -> None:
    """BatchNorm statistics only: neither vocabulary nor constants are stored."""
    model = build_model(name)
    stored = sum(value.numel() for value in model.state_dict().values())
    assert stored - sum(p.numel() for p in model.parameters()) == expected
