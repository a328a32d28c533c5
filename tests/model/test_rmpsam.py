"""The network's promises to its callers: shapes, independence, joint decoding, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rmpsam_ros.model import MODEL_CONFIGS, RmpSam, build_model
from rmpsam_ros.model.pixels import Pixels


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    """True if two float64 results are equal but for rounding."""
    return a.shape == b.shape and bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


@pytest.fixture(scope="module")
def decoded(r18_double: RmpSam, features_double: Tensor, boxes_double: Tensor):
    with torch.inference_mode():
        return (
            r18_double.decode_objects(features_double),
            r18_double.decode_prompts(features_double, boxes_double),
        )


def test_build_model_gives_every_named_network_in_eval_mode() -> None:
    for name in MODEL_CONFIGS:
        assert not build_model(name).training
    with pytest.raises(ValueError, match=r"'rmpsam_r101'.*rmpsam_r18, rmpsam_r50"):
        build_model("rmpsam_r101")


def test_shapes_of_an_image(r18: RmpSam) -> None:
    with torch.inference_mode():
        features = r18.features(torch.zeros(2, 3, 64, 96))
        output = r18.decode_objects(features)
    assert features.shape == (2, 256, 16, 24)
    assert output.class_logits.shape == (2, 100, 8)
    assert output.mask_logits.shape == (2, 100, 16, 24)
    assert output.queries.shape == (2, 100, 256)
    assert output.iou.shape == (2, 100, 1)
    assert output.stages == ()


def test_forward_is_features_then_objects(r18: RmpSam) -> None:
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        output = r18(images)
        expected = r18.decode_objects(r18.features(images))
    torch.testing.assert_close(output.mask_logits, expected.mask_logits)


@pytest.mark.parametrize("prompts", [0, 1, 5])
def test_shapes_of_prompts(r18: RmpSam, prompts: int) -> None:
    with torch.inference_mode():
        output = r18.decode_prompts(torch.rand(2, 256, 8, 16), torch.rand(2, prompts, 4))
    assert output.mask_logits.shape == (2, prompts, 8, 16)
    assert output.queries.shape == (2, prompts, 256)
    assert output.iou.shape == (2, prompts, 1)


@pytest.mark.parametrize("frames", [2, 3])
def test_shapes_of_tubes(r18: RmpSam, frames: int) -> None:
    with torch.inference_mode():
        output = r18.decode_objects(torch.rand(2 * frames, 256, 8, 16), frames, with_stages=True)
    assert output.mask_logits.shape == (2, 100, frames, 8, 16)
    assert output.class_logits.shape == (2, 100, 8)
    assert output.queries.shape == (2, 100, 256)
    assert [stage.mask_logits.shape for stage in output.stages] == [(2, 100, frames, 8, 16)] * 3


def test_tube_of_equal_frames_repeats_its_masks(
    r18_double: RmpSam, features_double: Tensor
) -> None:
    """Nothing encodes time, and frames are not mixed up in the masks."""
    with torch.inference_mode():
        tube = r18_double.decode_objects(features_double[:1].expand(3, -1, -1, -1), frames=3)
    assert close(tube.mask_logits[:, :, 0], tube.mask_logits[:, :, 2])
    assert not close(tube.mask_logits[:, :, 0], tube.mask_logits[:, :, 0].flip(-1))


def test_order_of_frames_orders_the_masks(r18_double: RmpSam, features_double: Tensor) -> None:
    with torch.inference_mode():
        tube = r18_double.decode_objects(features_double, frames=2)
        swapped = r18_double.decode_objects(features_double.flip(0), frames=2)
    assert close(tube.queries, swapped.queries)
    assert close(tube.mask_logits.flip(2), swapped.mask_logits)


def test_joint_decoding_equals_separate_passes(
    r18_double: RmpSam, features_double: Tensor, boxes_double: Tensor, decoded
) -> None:
    with torch.inference_mode():
        objects, prompts = r18_double.decode(features_double, boxes_double)
    for joint, alone in ((objects, decoded[0]), (prompts, decoded[1])):
        for field in joint._fields[:-1]:
            assert close(getattr(joint, field), getattr(alone, field)), field


def test_joint_decoding_equals_separate_passes_in_float32(
    r18: RmpSam, features_double: Tensor, boxes_double: Tensor, decoded
) -> None:
    with torch.inference_mode():
        joint = r18.decode(features_double.float(), boxes_double.float())
    prompts = joint[1].mask_logits.double()
    torch.testing.assert_close(prompts, decoded[1].mask_logits, atol=3e-3, rtol=0)
    objects = joint[0].queries.double()
    torch.testing.assert_close(objects, decoded[0].queries, atol=2e-4, rtol=0)


def test_a_prompt_does_not_influence_another(
    r18_double: RmpSam, features_double: Tensor, boxes_double: Tensor, decoded
) -> None:
    with torch.inference_mode():
        alone = r18_double.decode_prompts(features_double, boxes_double[:, 3:4])
    assert close(alone.mask_logits, decoded[1].mask_logits[:, 3:4])
    assert close(alone.iou, decoded[1].iou[:, 3:4])


def test_images_of_a_batch_do_not_influence_each_other(
    r18_double: RmpSam, features_double: Tensor, boxes_double: Tensor, decoded
) -> None:
    with torch.inference_mode():
        objects, prompts = r18_double.decode(features_double[1:], boxes_double[1:])
    assert close(objects.mask_logits, decoded[0].mask_logits[1:])
    assert close(prompts.mask_logits, decoded[1].mask_logits[1:])


def test_batched_features_equal_single_ones(r18_double: RmpSam) -> None:
    """Also guards the gather of the deformable convolution, which counts over the batch."""
    images = torch.rand(3, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        batch = r18_double.features(images)
        single = torch.cat([r18_double.features(image[None]) for image in images])
    assert close(batch, single)


def test_stages_do_not_change_the_result(
    r18_double: RmpSam, features_double: Tensor, boxes_double: Tensor, decoded
) -> None:
    with torch.inference_mode():
        objects = r18_double.decode_objects(features_double, with_stages=True)
        prompts = r18_double.decode_prompts(features_double, boxes_double, with_stages=True)
    assert close(objects.mask_logits, decoded[0].mask_logits)
    assert close(objects.iou, decoded[0].iou)
    assert close(prompts.mask_logits, decoded[1].mask_logits)
    assert len(objects.stages) == len(prompts.stages) == 3
    assert prompts.stages[2].class_logits.shape == (2, 5, 8)
    assert close(objects.stages[2].iou, objects.iou)


def test_default_label_is_one(
    r18_double: RmpSam, features_double: Tensor, boxes_double: Tensor, decoded
) -> None:
    with torch.inference_mode():
        ones = r18_double.decode_prompts(
            features_double, boxes_double, torch.ones(2, 5, dtype=torch.int64)
        )
        zeros = r18_double.decode_prompts(
            features_double, boxes_double, torch.zeros(2, 5, dtype=torch.int64)
        )
    assert close(ones.queries, decoded[1].queries)
    assert not close(zeros.queries, decoded[1].queries)


@pytest.mark.parametrize(
    "shape", [(1, 3, 100, 96), (1, 3, 96, 100), (1, 1, 64, 64), (3, 64, 64), (1, 1, 3, 64, 64)]
)
def test_wrong_images_are_refused(r18: RmpSam, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        r18.features(torch.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "frames", "message"),
    [
        ((1, 128, 8, 8), 1, r"\[1, 128, 8, 8\]; expected \[batch \* frames, 256"),
        ((256, 8, 8), 1, "expected"),
        ((3, 256, 8, 8), 2, "3 feature maps .* tubes of 2"),
        ((2, 256, 8, 8), 0, "tubes of 0"),
    ],
)
def test_wrong_features_are_refused(
    r18: RmpSam, shape: tuple[int, ...], frames: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        r18.decode_objects(torch.zeros(shape), frames)


@pytest.mark.parametrize("shape", [(4,), (5, 4), (1, 5, 2), (1, 5, 4, 1)])
def test_wrong_boxes_are_refused(r18: RmpSam, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"boxes have shape"):
        r18.decode_prompts(torch.zeros(1, 256, 8, 8), torch.zeros(shape))


def test_wrong_labels_are_refused(r18: RmpSam) -> None:
    labels = torch.ones(1, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\[1, 2\]; expected \[1, 3\]"):
        r18.decode_prompts(torch.zeros(1, 256, 8, 8), torch.zeros(1, 3, 4), labels)


def test_half_precision_backbone_with_float32_decoder(r18: RmpSam) -> None:
    model = build_model("rmpsam_r18")
    model.load_state_dict(r18.state_dict())
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = model.features(images)
        model.backbone.bfloat16()
        model.neck.bfloat16()
        features = model.features(images)
        output = model.decode_objects(features)
    assert features.dtype == torch.bfloat16
    assert output.mask_logits.dtype == torch.float32
    error = (features.float() - expected).square().mean() / expected.square().mean()
    assert error < 1e-3


def test_gradients_reach_every_trained_parameter_of_the_object_path(r18: RmpSam) -> None:
    features = torch.rand(1, 256, 8, 8, requires_grad=True)
    output = r18.decode_objects(features, with_stages=True)
    total = output.class_logits.sum() + output.mask_logits.sum() + output.iou.sum()
    for stage in output.stages:
        total = total + stage.class_logits.sum() + stage.mask_logits.sum() + stage.iou.sum()
    total.backward()
    without = {
        name
        for name, parameter in r18.named_parameters()
        if parameter.grad is None and not name.startswith(("backbone", "neck", "prompt"))
    }
    assert without == set()
    assert features.grad is not None and bool(features.grad.abs().sum() > 0)


def test_gradients_reach_every_trained_parameter_of_the_prompt_path(r18: RmpSam) -> None:
    output = r18.decode_prompts(torch.rand(1, 256, 8, 8), torch.rand(1, 3, 4), with_stages=True)
    total = output.mask_logits.sum() + output.iou.sum()
    for stage in output.stages:
        total = total + stage.class_logits.sum() + stage.mask_logits.sum() + stage.iou.sum()
    total.backward()
    without = {
        name
        for name, parameter in r18.named_parameters()
        if parameter.grad is None and name.startswith(("prompt", "decoder"))
    }
    assert without == set()


def test_features_have_gradients_in_backbone_and_neck(r18: RmpSam) -> None:
    r18.features(torch.rand(1, 3, 64, 64)).square().sum().backward()
    without = {
        name
        for name, parameter in r18.named_parameters()
        if parameter.grad is None and name.startswith(("backbone", "neck"))
    }
    assert without == set()


def test_no_gradient_flows_through_the_hard_mask(r18: RmpSam) -> None:
    """The first masks only select pixels, so the start masks have no other use."""
    stage = r18.decoder.stages[0]
    logits = torch.randn(1, 100, 64, requires_grad=True)
    pixels = Pixels(torch.rand(1, 256, 64), (8, 8))
    stage(pixels, torch.rand(1, 100, 256), logits, 100).sum().backward()
    assert logits.grad is None


@pytest.mark.parametrize("name", ["rmpsam_r18", "rmpsam_lite"])
def test_compact_features_give_the_same_results_and_gradients(name: str) -> None:
    """Objects with stages, a tube, prompts and names, as training asks for them."""
    torch.manual_seed(4)
    model = build_model(name, torch.eye(768)[:3, None]).double()
    images, boxes = torch.randn(2, 3, 32, 64).double(), torch.rand(2, 3, 4).double()
    masks = torch.rand(2, 1, 8, 16) > 0.5

    def results() -> dict[str, torch.Tensor]:
        features = model.features(images)
        objects = model.decode_objects(features, with_stages=True)
        tube = model.decode_objects(features, frames=2)
        prompts = model.decode_prompts(features, boxes.sort(-1).values, with_stages=True)
        found = {"classes": objects.class_logits, "masks": objects.mask_logits, "iou": prompts.iou}
        found |= {"stage": objects.stages[0].mask_logits, "tube": tube.mask_logits}
        found |= {"prompts": prompts.mask_logits, "embedding": tube.class_logits}
        if model.object_adapter.name_branch is not None:
            found["names"] = model.name_logits(features[:1], masks)
        return found

    def gradients(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        model.zero_grad()
        torch.stack([value.square().mean() for value in found.values()]).sum().backward()
        return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}

    plain = results()
    expected = gradients(plain)
    with model.compact():
        channels = model.neck.output_conv.out_channels + 3
        assert model.features(images).shape[1] == channels
        compact = results()
    assert model.features(images).shape[1] == 256
    for key, value in plain.items():
        torch.testing.assert_close(compact[key], value, atol=1e-9, rtol=1e-7, msg=key)
    actual = gradients(compact)
    assert set(actual) == set(expected)
    scale = max(float(value.abs().max()) for value in expected.values())
    for key, value in expected.items():
        torch.testing.assert_close(actual[key], value, atol=1e-9 * scale, rtol=1e-6, msg=key)
