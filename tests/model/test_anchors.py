"""Boxes as the first masks of an anchored network."""

from __future__ import annotations

import pytest
import torch

from rmpsam_ros.model import MODEL_CONFIGS, build_model
from rmpsam_ros.model.anchors import box_masks, grid_cells


def inside(box: tuple[float, ...], grid: tuple[int, ...]) -> torch.Tensor:
    return (box_masks(torch.tensor([[box]]), grid)[0, 0] > 0).reshape(grid)


def test_grid_cells_cover_the_image_once() -> None:
    cells = grid_cells(100)
    covered = torch.stack([inside(tuple(cell), (40, 80)) for cell in cells.tolist()]).sum(0)
    assert bool((covered == 1).all())
    assert cells[1].tolist() == pytest.approx([0.1, 0.0, 0.2, 0.1])  # row by row


def test_queries_that_make_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="99 object queries do not make a square grid"):
        grid_cells(99)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((0.25, 0.5, 0.75, 1.0), slice(4, 8), slice(4, 12)),
        ((0.0, 0.0, 1.0, 1.0), slice(0, 8), slice(0, 16)),
        # narrower than a pixel, and outside on either side: one pixel
        ((0.51, 0.51, 0.52, 0.52), slice(4, 5), slice(8, 9)),
        ((-0.2, 0.3, -0.15, 0.35), slice(2, 3), slice(0, 1)),
        ((1.1, 1.2, 1.15, 1.25), slice(7, 8), slice(15, 16)),
    ],
)
def test_pixels_of_a_box(box: tuple[float, ...], rows: slice, columns: slice) -> None:
    expected = torch.zeros(8, 16, dtype=torch.bool)
    expected[rows, columns] = True
    assert torch.equal(inside(box, (8, 16)), expected)
    assert torch.equal(inside(box, (3, 8, 16)), expected.expand(3, -1, -1))


def test_only_the_networks_of_the_demo_are_anchored() -> None:
    anchored = [name for name, one in MODEL_CONFIGS.items() if one.anchored]
    assert anchored == ["rmpsam_tiny_vit", "rmpsam_tiny_vit_lite0", "rmpsam_lite"]


def test_the_first_pooling_of_an_anchored_network_is_over_the_boxes() -> None:
    torch.manual_seed(1)
    model = build_model("rmpsam_tiny_vit", torch.eye(768)[:3, None])
    features, boxes = torch.rand(1, 256, 20, 40), torch.tensor([[[0.25, 0.25, 0.5, 0.5]]])
    pooled = []
    update = model.decoder.stages[0].kernel_update
    update.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs[0]))
    with torch.inference_mode():
        model.decode(features, boxes)
        model.decode_prompts(features, boxes)
        model.decode_objects(features)
        model.decode_objects(features.expand(2, -1, -1, -1), frames=2)
    both, prompts, objects, tube = pooled
    expected = features[:, :, 5:10, 10:20].sum((2, 3))
    torch.testing.assert_close(prompts[:, 0], expected)
    torch.testing.assert_close(both[:, 100], expected)
    torch.testing.assert_close(both[:, :100], objects)
    torch.testing.assert_close(tube, 2 * objects)
    torch.testing.assert_close(objects.sum(1), features.sum((2, 3)), rtol=1e-4, atol=1e-4)


def test_joint_and_separate_passes_agree() -> None:
    torch.manual_seed(2)
    model = build_model("rmpsam_tiny_vit", torch.eye(768)[:3, None]).double()
    features = torch.randn(1, 256, 8, 16).double()
    boxes = torch.rand(1, 4, 4).double().sort(-1).values
    with torch.inference_mode():
        objects, prompts = model.decode(features, boxes)
        torch.testing.assert_close(objects.mask_logits, model.decode_objects(features).mask_logits)
        torch.testing.assert_close(
            prompts.mask_logits, model.decode_prompts(features, boxes).mask_logits
        )
