"""Clicks and scores against the official protocol's golden data."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rmpsam_ros.evaluation.interactive import (
    NOC_THRESHOLDS,
    InteractiveScore,
    _depth,
    click_position,
)
from rmpsam_ros.segmentation.overlap import mask_iou

GOLDEN = Path(__file__).parents[1] / "goldens" / "evaluation" / "interactive.npz"


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN)


def unpack(packed, height, width):
    bits = np.unpackbits(packed, axis=1)[:, : height * width]
    return bits.reshape(-1, height, width).astype(bool)


def test_clicks_are_the_official_ones(golden):
    masks = unpack(golden["click.masks_packed"], 60, 90)
    for mask, official in zip(masks, golden["click.points_xy"], strict=True):
        depth = _depth(np.pad(mask, 1))[1:-1, 1:-1]
        (x, y), theirs = click_position(mask), tuple(official)
        # Of pixels that are equally deep rounding chooses, which is another on other processors.
        assert (x, y) == theirs or depth[y, x] == pytest.approx(depth[theirs[::-1]])


def test_clicks_of_the_protocol(golden):
    masks = unpack(golden["gt_masks_packed"], 120, 180)
    boxes = golden["points_xyxy"]
    assert np.array_equal([click_position(mask) for mask in masks], boxes[:, :2] + 3)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(2, 3), slice(5, 6), (5, 2)),  # one pixel
        (slice(0, 9), slice(0, 9), (4, 4)),  # a square in the corner: the border counts as outside
        (slice(0, 1), slice(0, 12), None),  # one row: somewhere on it
        (slice(0, 12), slice(0, 12), None),  # everything
    ],
)
def test_click_lies_in_the_mask(rows, columns, expected):
    mask = np.zeros((12, 12), bool)
    mask[rows, columns] = True
    x, y = click_position(mask)
    assert mask[y, x]
    assert expected is None or (x, y) == expected


def test_click_avoids_a_hole():
    mask = np.ones((21, 21), bool)
    mask[8:13, 8:13] = False
    x, y = click_position(mask)
    assert mask[y, x]


def test_empty_mask_cannot_be_clicked():
    with pytest.raises(ValueError, match="empty"):
        click_position(np.zeros((4, 4), bool))


def test_scores_of_the_protocol(golden):
    """IoU and NoC of given predictions; the annotation is enlarged as the protocol does."""
    predicted = unpack(golden["metric_only.pred_packed"], 150, 225)
    truth = torch.from_numpy(unpack(golden["gt_masks_packed"], 120, 180)).float()
    truth = torch.nn.functional.interpolate(truth[None], (150, 225), mode="bilinear")[0].bool()
    score = InteractiveScore()
    ious = [mask_iou(p, t) for p, t in zip(predicted, truth.numpy(), strict=True)]
    for iou in ious:
        score.add(iou)
    assert ious == pytest.approx(golden["metric_only.iou"].tolist(), abs=1e-6)
    assert score.mean_iou() == pytest.approx(0.5103274, abs=1e-6)
    clicks = [score.clicks(threshold) for threshold in NOC_THRESHOLDS]
    assert clicks == pytest.approx([10.5, 10.5, 10.5, 16.8333333], abs=1e-6)
    assert len(score) == 6


def test_scores_of_nothing():
    assert math.isnan(InteractiveScore().mean_iou())
    assert math.isnan(InteractiveScore().clicks(0.5))
