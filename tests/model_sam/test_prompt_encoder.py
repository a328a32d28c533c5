"""Prompts: joining, padding and embedding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rmpsam_ros.model.sam.prompt_encoder import PositionCode, PromptEncoder, join_prompts

POINTS = torch.tensor([[[10.0, 20.0], [30.0, 40.0]]])
LABELS = torch.tensor([[1, 0]])
BOXES = torch.tensor([[1.0, 2.0, 3.0, 4.0]])


@pytest.mark.parametrize(
    ("prompt", "points", "labels"),
    [
        ((POINTS, LABELS, None), [[10, 20], [30, 40], [0, 0]], [1, 0, -1]),
        ((None, None, BOXES), [[1, 2], [3, 4]], [2, 3]),
        ((POINTS, LABELS, BOXES), [[10, 20], [30, 40], [1, 2], [3, 4]], [1, 0, 2, 3]),
        ((POINTS[:, :0], LABELS[:, :0], BOXES), [[1, 2], [3, 4]], [2, 3]),
        ((POINTS, torch.tensor([[1, -1]]), None), [[10, 20], [30, 40], [0, 0]], [1, -1, -1]),
    ],
    ids=["points", "box", "points and box", "no points and box", "filled up"],
)
def test_points_come_first_then_padding_or_box_corners(
    prompt: tuple[Tensor | None, ...], points: list, labels: list
) -> None:
    joined, joined_labels = join_prompts(*prompt)
    assert joined.tolist() == [points]
    assert joined_labels.tolist() == [labels]
    assert joined_labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ((None, None, None), "at least one point or a box"),
        ((POINTS[:, :0], LABELS[:, :0], None), "at least one point or a box"),
        ((POINTS, None, None), "come together"),
        ((None, LABELS, BOXES), "come together"),
        ((POINTS[0], LABELS, None), r"points are \[K, P, 2\].*\[2, 2\]"),
        ((POINTS[..., :1], LABELS, None), r"points are \[K, P, 2\]"),
        ((POINTS, LABELS[:, :1], None), r"labels are .*\[1, 2, 2\].*\[1, 1\]"),
        ((POINTS, torch.tensor([[1, 2]]), None), r"labels are 1 .*got \[2\]"),
        ((POINTS, torch.tensor([[-2, 7]]), None), r"got \[-2, 7\]"),
        ((None, None, BOXES[0]), r"boxes are \[K, 4\].*\[4\]"),
        ((None, None, BOXES[:, :3]), r"boxes are \[K, 4\]"),
        ((POINTS, LABELS, BOXES.expand(2, 4)), "points of 1 prompts and boxes of 2"),
    ],
)
def test_bad_prompts_are_refused(prompt: tuple[Tensor | None, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        join_prompts(*prompt)


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder()


def test_label_chooses_what_is_added_to_the_position(encoder: PromptEncoder) -> None:
    points = torch.tensor([[[100.0, 200.0]] * 5])
    labels = torch.tensor([[-1, 0, 1, 2, 3]])
    with torch.no_grad():
        embedded = encoder(points, labels)[0]
        code = encoder.pe_layer(torch.tensor([100.5 / 1024, 200.5 / 1024]))
        kinds = [kind.weight[0] for kind in encoder.point_embeddings]
    torch.testing.assert_close(embedded[1:], code + torch.stack(kinds))
    assert torch.equal(embedded[0], encoder.not_a_point_embed.weight[0])


def test_padding_keeps_nothing_of_its_position(encoder: PromptEncoder) -> None:
    labels = torch.tensor([[-1]])
    with torch.no_grad():
        here = encoder(torch.tensor([[[0.0, 0.0]]]), labels)
        there = encoder(torch.tensor([[[700.0, 3.0]]]), labels)
    assert torch.equal(here, there)


def test_position_code_is_sines_then_cosines_of_x_and_y() -> None:
    code = PositionCode(2)
    code.positional_encoding_gaussian_matrix.copy_(torch.tensor([[0.25, 0.0], [0.0, 0.5]]))
    out = code(torch.tensor([1.0, 0.5]))  # x at the right border, y in the middle
    torch.testing.assert_close(out, torch.tensor([1.0, 0.0, 0.0, 1.0]), atol=1e-6, rtol=0)


def test_image_position_is_the_code_of_cell_centres(encoder: PromptEncoder) -> None:
    grid = encoder.image_position()
    assert grid.shape == (1, 256, 64, 64)
    cell = encoder.pe_layer(torch.tensor([(7 + 0.5) / 64, (3 + 0.5) / 64]))
    torch.testing.assert_close(grid[0, :, 3, 7], cell)


def test_masks_are_embedded_at_the_size_of_the_image_embedding(encoder: PromptEncoder) -> None:
    with torch.no_grad():
        assert encoder.embed_masks(torch.zeros(3, 1, 256, 256)).shape == (3, 256, 64, 64)
    assert encoder.without_mask().shape == (1, 256, 1, 1)
