"""Encoding once, decoding many prompts."""

from __future__ import annotations

import pytest
import torch

from rmpsam_ros.model.sam import IMAGE_SIZE, MAX_PROMPTS, ImageEmbedding, PromptModel
from rmpsam_ros.model.sam.mask_decoder import FeatureFusion

POINT = torch.tensor([[[500.0, 400.0]]])
FOREGROUND = torch.tensor([[1]])
BOX = torch.tensor([[300.0, 200.0, 700.0, 600.0]])


def fused_embedding() -> ImageEmbedding:
    torch.manual_seed(2)
    return ImageEmbedding(torch.randn(1, 256, 64, 64), torch.randn(1, 64, 256, 256))


@pytest.mark.parametrize(("multimask", "masks"), [(False, 1), (True, 3)])
def test_shapes_of_masks_and_scores(
    mobile_sam: PromptModel, embedding: ImageEmbedding, multimask: bool, masks: int
) -> None:
    with torch.inference_mode():
        logits, iou = mobile_sam.decode(
            embedding, POINT, FOREGROUND, BOX, torch.zeros(1, 1, 256, 256), multimask
        )
    assert logits.shape == (1, masks, 256, 256)
    assert iou.shape == (1, masks)


def test_prompts_of_a_batch_do_not_see_each_other(
    mobile_sam: PromptModel, embedding: ImageEmbedding
) -> None:
    """More prompts than are decoded together, with mask prompts."""
    torch.manual_seed(0)
    points = 1000 * torch.rand(9, 2, 2)
    labels = torch.randint(0, 2, (9, 2))
    boxes = 1000 * torch.rand(9, 4)
    masks = torch.randn(9, 1, 256, 256)
    with torch.inference_mode():
        together = mobile_sam.decode(embedding, points, labels, boxes, masks, multimask=True)
        for i in (0, 7, 8):
            one = slice(i, i + 1)
            alone = mobile_sam.decode(
                embedding, points[one], labels[one], boxes[one], masks[one], multimask=True
            )
            for a, b in zip(alone, together, strict=True):
                torch.testing.assert_close(a, b[one], atol=1e-3, rtol=1e-4)


def test_mask_input_changes_the_answer(mobile_sam: PromptModel, embedding: ImageEmbedding) -> None:
    with torch.inference_mode():
        first, _ = mobile_sam.decode(embedding, POINT, FOREGROUND)
        second, _ = mobile_sam.decode(embedding, POINT, FOREGROUND, mask_input=first)
    assert (first - second).abs().max() > 0.1


@pytest.mark.slow
def test_the_largest_batch_is_answered(mobile_sam: PromptModel, embedding: ImageEmbedding) -> None:
    boxes = BOX.expand(MAX_PROMPTS, 4)
    with torch.inference_mode():
        logits, iou = mobile_sam.decode(embedding, None, None, boxes)
    assert logits.shape == (MAX_PROMPTS, 1, 256, 256)
    assert (logits - logits[:1]).abs().max() < 1e-3
    assert iou.shape == (MAX_PROMPTS, 1)


def test_one_image_of_a_batch_is_selected() -> None:
    batch = ImageEmbedding(torch.randn(3, 256, 64, 64), torch.randn(3, 64, 8, 8))
    one = batch.select(2)
    assert torch.equal(one.features, batch.features[2:])
    assert one.high_res is not None and torch.equal(one.high_res, batch.high_res[2:])
    assert ImageEmbedding(batch.features).select(0).high_res is None


def test_images_of_a_batch_do_not_see_each_other(rwkv_sam: PromptModel) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.inference_mode():
        both = rwkv_sam.encode(images)
        second = rwkv_sam.encode(images[1:])
    assert both.features.shape == (2, 256, 64, 64)
    assert both.high_res is not None and both.high_res.shape == (2, 64, 256, 256)
    for a, b in zip(both.select(1), second, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_fusion_in_two_parts_is_the_convolution_of_all_features() -> None:
    torch.manual_seed(0)
    fusion = FeatureFusion(16, 24).double().eval()
    high, middle = torch.randn(1, 16, 12, 8).double(), torch.randn(1, 24, 6, 4).double()
    mask_features = torch.randn(3, 32, 12, 8).double()
    with torch.no_grad():
        parts = [fusion.mr_feat_proj(middle), fusion.hr_feat_proj(high)]
        side_by_side = torch.cat([mask_features, *(p.expand(3, -1, -1, -1) for p in parts)], 1)
        expected = mask_features + fusion.mix_feat_proj(side_by_side)
        actual = fusion(mask_features, fusion.image_part(high, middle))
    torch.testing.assert_close(actual, expected)


def test_model_with_fusion_answers_with_one_mask(rwkv_sam: PromptModel) -> None:
    with torch.inference_mode():
        logits, iou = rwkv_sam.decode(fused_embedding(), POINT, FOREGROUND)
    assert logits.shape == (1, 1, 256, 256)
    assert iou.shape == (1, 1)
    assert not rwkv_sam.supports_multimask


def test_model_with_fusion_refuses_three_masks(rwkv_sam: PromptModel) -> None:
    with pytest.raises(ValueError, match="without multimask"):
        rwkv_sam.decode(fused_embedding(), POINT, FOREGROUND, multimask=True)


def test_model_with_fusion_needs_its_features(
    rwkv_sam: PromptModel, embedding: ImageEmbedding
) -> None:
    with pytest.raises(ValueError, match="got none"):
        rwkv_sam.decode(embedding, POINT, FOREGROUND)


@pytest.mark.parametrize(
    "shape", [(3, 1024, 1024), (1, 3, 1024, 1023), (1, 1, 1024, 1024), (1, 1024, 1024, 3)]
)
def test_images_of_another_shape_are_refused(mobile_sam: PromptModel, shape: tuple) -> None:
    with pytest.raises(ValueError, match=r"\[B, 3, 1024, 1024\].*preprocess"):
        mobile_sam.encode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": None, "labels": None}, "at least one point or a box"),
        ({"labels": torch.tensor([[4]])}, r"got \[4\]"),
        ({"mask_input": torch.zeros(1, 256, 256)}, r"mask_input is \[1, 1, 256, 256\]"),
        ({"mask_input": torch.zeros(2, 1, 256, 256)}, r"for 1 prompts, got \[2, "),
        (
            {"points": POINT.expand(321, 1, 2), "labels": FOREGROUND.expand(321, 1)},
            "1 to 320 prompts in one call, got 321",
        ),
        (
            {"points": POINT[:0], "labels": FOREGROUND[:0]},
            "1 to 320 prompts in one call, got 0",
        ),
        (
            {"embedding": ImageEmbedding(torch.zeros(2, 256, 64, 64))},
            r"embedding of 2; use embedding.select",
        ),
    ],
)
def test_bad_prompts_are_refused(
    mobile_sam: PromptModel, embedding: ImageEmbedding, changes: dict, message: str
) -> None:
    call = {"embedding": embedding, "points": POINT, "labels": FOREGROUND} | changes
    with pytest.raises(ValueError, match=message):
        mobile_sam.decode(**call)
