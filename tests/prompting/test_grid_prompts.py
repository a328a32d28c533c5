"""Segmenting everything, with made-up models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmpsam_ros.model.sam.transforms import frame_geometry
from rmpsam_ros.prompting import grid_prompts as everything
from rmpsam_ros.prompting.grid_prompts import (
    GridFilter,
    grid_steps,
    mask_boxes,
    point_grid,
    segment_with_boxes,
    stability_scores,
)
from rmpsam_ros.prompting.steps import finished

GEOMETRY = frame_geometry(96, 128)  # eight pixels of the frame for one of the picture


class Squares:
    """Answers a box with the box, and a point with squares of three sizes around it."""

    def __init__(self, iou=(0.95, 0.9, 0.5), certainty=1000.0, sizes=(8, 24, 60)) -> None:
        self.iou, self.certainty, self.sizes = torch.tensor(iou), certainty, sizes
        self.batches: list[int] = []

    def __call__(self, points, labels, boxes=None, *, multimask=False):
        if points is not None:
            assert multimask and boxes is None and (labels == 1).all()
            assert points.shape[1] == 1
            self.batches.append(len(points))
            half = torch.tensor(self.sizes).float()[None, :, None] * 8 / 2
            boxes = torch.cat([points - half, points + half], dim=-1)  # [K, 3, 4]
        else:
            assert not multimask
            self.batches.append(len(boxes))
            boxes = boxes[:, None]
        cells = torch.arange(256) * 4 + 2.0
        x0, y0, x1, y1 = boxes[..., None, None].unbind(2)
        inside_x = (cells > x0) & (cells < x1)
        inside_y = (cells[:, None] > y0) & (cells[:, None] < y1)
        logits = torch.where(inside_x & inside_y, self.certainty, -self.certainty)
        return logits, self.iou[: logits.shape[1]].expand(logits.shape[:2])


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (1, [[64, 48]]),
        (2, [[32, 24], [96, 24], [32, 72], [96, 72]]),
    ],
)
def test_grid_points_are_cell_centres_row_by_row(side: int, expected: list) -> None:
    assert point_grid(side, 96, 128).tolist() == expected


def test_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one point per side, got 0"):
        point_grid(0, 96, 128)


def test_stability_is_the_share_that_survives_a_stricter_threshold() -> None:
    logits = torch.tensor([[[5.0, 0.5, -0.5, -5.0]], [[5, 5, 5, -5]], [[-5, -5, -5, -5]]])
    torch.testing.assert_close(stability_scores(logits, 1.0), torch.tensor([1 / 3, 1.0, 0.0]))


def test_boxes_of_masks() -> None:
    masks = np.zeros((4, 5, 7), bool)
    masks[1, 2, 3] = True
    masks[2, 1:4, 0:6] = True
    masks[3, 0, 6] = masks[3, 4, 0] = True
    assert mask_boxes(masks).tolist() == [[0] * 4, [3, 2, 3, 2], [0, 1, 5, 3], [0, 0, 6, 4]]
    assert mask_boxes(masks[:0]).shape == (0, 4)


def test_boxes_are_answered_in_batches_and_sorted_by_area(monkeypatch) -> None:
    monkeypatch.setattr(everything, "BOXES_AT_ONCE", 2)
    model = Squares()
    boxes = np.array([[0, 0, 16, 16], [8, 8, 100, 80], [40, 40, 80, 64], [0, 0, 0, 0]], float)
    found = segment_with_boxes(model, GEOMETRY, boxes)
    assert model.batches == [2, 2]
    assert found.prompt.tolist() == [1, 2, 0, 3]
    assert found.masks.shape == (4, 96, 128)
    assert found.masks.sum((1, 2)).tolist() == [92 * 72, 40 * 24, 16 * 16, 0]
    assert found.boxes.tolist()[1] == [40, 40, 79, 63]
    np.testing.assert_allclose(found.predicted_iou, 0.95)
    np.testing.assert_allclose(found.stability[:3], 1.0, atol=0.1)


def test_as_many_boxes_at_once_as_the_model_takes() -> None:
    model = Squares()
    segment_with_boxes(model, GEOMETRY, np.tile([0.0, 0, 16, 16], (321, 1)))
    assert model.batches == [320, 1]


def test_without_boxes_there_are_no_masks() -> None:
    found = segment_with_boxes(Squares(), GEOMETRY, np.zeros((0, 4)))
    assert found.masks.shape == (0, 96, 128)
    assert found.boxes.shape == (0, 4)
    assert len(found.prompt) == len(found.predicted_iou) == len(found.stability) == 0


def test_grid_keeps_good_masks_once(monkeypatch) -> None:
    """Sixteen points in batches; the third mask is too uncertain, the others lie apart."""
    monkeypatch.setattr(everything, "POINTS_AT_ONCE", 6)
    model = Squares(iou=(0.95, 0.9, 0.5), sizes=(8, 24, 200))
    found = finished(grid_steps(model, GEOMETRY, 4))
    assert model.batches == [6, 6, 4]
    assert found.prompt.tolist() == [*range(16), *range(16)]
    assert found.predicted_iou.tolist() == pytest.approx([0.95] * 16 + [0.9] * 16)
    assert found.masks.sum((1, 2)).tolist() == [8 * 8] * 16 + [24 * 24] * 16
    x, y = point_grid(4, 96, 128)[6].astype(int)
    assert found.boxes[6].tolist() == [x - 4, y - 4, x + 3, y + 3]


def test_grid_drops_masks_over_the_same_place() -> None:
    """Squares so large that all points of a fine grid find nearly the same one."""
    found = finished(grid_steps(Squares(iou=(0.9, 0.95, 0.9), sizes=(300, 300, 300)), GEOMETRY, 4))
    assert len(found.masks) == 1
    assert found.masks.all()
    assert found.predicted_iou[0] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("model", "keep"),
    [
        (Squares(iou=(0.88, 0.5, 0.1)), None),  # the bound itself is too low
        (Squares(certainty=0.9), None),  # nothing exceeds the stricter threshold
        (Squares(), GridFilter(predicted_iou=0.96)),
        (Squares(), GridFilter(stability=1.01)),
    ],
    ids=["uncertain", "unstable", "stricter score", "stricter stability"],
)
def test_grid_may_keep_nothing(model: Squares, keep: GridFilter | None) -> None:
    found = finished(grid_steps(model, GEOMETRY, 2, keep))
    assert found.masks.shape == (0, 96, 128)
    assert found.boxes.shape == (0, 4)
