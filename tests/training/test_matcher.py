"""Matching costs by hand, and the assignment as the cheapest one."""

import itertools
import math

import pytest
import torch

from rmpsam_ros.data.samples import UNNAMED
from rmpsam_ros.training.matcher import (
    MatchCosts,
    class_cost,
    dice_cost,
    mask_cost,
    match,
    place_cost,
)
from rmpsam_ros.training.points import random_points, sample_points, uncertain_points

THINGS = torch.tensor([True, True, False])


def test_class_cost():
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
    p = logits.softmax(-1)[0].tolist()
    cost = class_cost(logits, torch.tensor([2, 0, UNNAMED]), THINGS)
    assert cost[0].tolist() == pytest.approx([-p[2], -p[0], -(p[0] + p[1])], abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1.0, 1.0], (math.log(4 / 3) + math.log(2)) / 2), ([1.0, 0.0], math.log(4 / 3))],
)
def test_mask_cost(weights, expected):
    logits = torch.tensor([[math.log(3), 0.0]])
    cost = mask_cost(logits, torch.tensor([[1.0, 0.0]]), torch.tensor(weights))
    assert cost.tolist() == [[pytest.approx(expected, abs=1e-6)]]


def test_dice_cost():
    logits = torch.tensor([[0.0, 0.0]])
    cost = dice_cost(logits, torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.ones(2))
    assert cost[0].tolist() == pytest.approx([1 - 3 / 4, 1 - 2 / 3], abs=1e-6)


def test_place_cost():
    """Cells of a 2 x 2 grid; a thing at the top right, stuff, and a thing that moves."""
    cells = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]])
    masks = torch.zeros(3, 2, 8, 16, dtype=torch.bool)
    masks[0, :, 0:4, 8:16] = True  # middle (0.75, 0.25), that of cell 1
    masks[1, :, 4:8] = True
    masks[2, 0, 0:4, 0:8] = masks[2, 1, 4:8, 0:8] = True  # middle (0.25, 0.5)
    cost = place_cost(cells, masks, torch.tensor([0, 2, UNNAMED]), THINGS)
    expected = [
        [0.5, 0.0, 0.25],
        [0.0, 0.0, math.hypot(0.5, 0.25)],
        [math.hypot(0.5, 0.5), 0.0, 0.25],
    ]
    assert torch.allclose(cost, torch.tensor(expected), atol=1e-6)
    nothing = place_cost(cells, masks[:0], torch.zeros(0, dtype=torch.int64), THINGS)
    assert nothing.shape == (3, 0)
    empty = place_cost(cells, torch.zeros_like(masks), torch.tensor([0, 1, 2]), THINGS)
    assert empty.isfinite().all()


@pytest.mark.parametrize("nearest", range(3))
def test_of_equal_queries_the_nearest_is_matched(nearest):
    places = torch.full((3, 1), 0.5)
    places[nearest] = 0.1
    arguments = (torch.zeros(3, 4), torch.zeros(3, 6), torch.tensor([0]), torch.ones(1, 6))
    arguments = (*arguments, torch.ones(6), THINGS)
    queries, _ = match(*arguments, MatchCosts(place=1.0), places)
    assert queries.tolist() == [nearest]
    assert match(*arguments, MatchCosts(), places)[0].tolist() == [0]


@pytest.mark.parametrize("seed", range(4))
def test_match_is_the_cheapest_assignment(seed):
    generator = torch.Generator().manual_seed(seed)
    class_logits = torch.randn(5, 4, generator=generator)
    logits = 3 * torch.randn(5, 20, generator=generator)
    masks = torch.rand(3, 20, generator=generator).round()
    classes, weights = torch.tensor([0, 2, UNNAMED]), torch.ones(20)
    costs = MatchCosts(2, 5, 5)
    total = (
        2 * class_cost(class_logits, classes, THINGS)
        + 5 * mask_cost(logits, masks, weights)
        + 5 * dice_cost(logits, masks, weights)
    )
    queries, objects = match(class_logits, logits, classes, masks, weights, THINGS, costs)
    best = min(
        sum(float(total[q, g]) for g, q in enumerate(chosen))
        for chosen in itertools.permutations(range(5), 3)
    )
    assert float(total[queries, objects].sum()) == pytest.approx(best, rel=1e-5)


def test_match_without_objects_and_with_more_objects_than_queries():
    none = match(
        torch.zeros(2, 4),
        torch.zeros(2, 8),
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, 8),
        torch.ones(8),
        THINGS,
        MatchCosts(),
    )
    assert [len(index) for index in none] == [0, 0]
    many = match(
        torch.zeros(2, 4),
        torch.zeros(2, 8),
        torch.zeros(5, dtype=torch.int64),
        torch.zeros(5, 8),
        torch.ones(8),
        THINGS,
        MatchCosts(),
    )
    assert [len(index) for index in many] == [2, 2]


def test_not_finite_logits_do_not_stop_the_matcher():
    logits = torch.full((2, 8), float("nan"))
    logits[1] = 0
    queries, objects = match(
        torch.zeros(2, 4),
        logits,
        torch.tensor([0]),
        torch.ones(1, 8),
        torch.ones(8),
        THINGS,
        MatchCosts(),
    )
    assert (queries.tolist(), objects.tolist()) == ([1], [0])


def test_sample_points_reads_pixel_centres_whatever_the_size():
    maps = torch.arange(12.0).view(1, 3, 4)
    points = torch.tensor([[[0.125, 1 / 6], [0.875, 5 / 6], [0.375, 0.5]]])
    assert sample_points(maps, points)[0].tolist() == pytest.approx([0, 11, 5], abs=1e-5)
    both = torch.cat((maps, maps + 1))
    assert sample_points(both, points)[1].tolist() == pytest.approx([1, 12, 6], abs=1e-5)


def test_uncertain_points_lie_on_the_border():
    logits = torch.linspace(-10, 10, 64).repeat(64, 1)[None]  # undecided at x = 0.5
    generator = torch.Generator().manual_seed(0)
    points = uncertain_points(logits, 400, 3.0, 0.75, generator)
    assert points.shape == (1, 400, 2)
    distance = (points[0, :, 0] - 0.5).abs()
    assert float(distance[:300].max()) < 0.2  # the closest 300 of 1200
    assert float(distance[300:].max()) > 0.4  # the rest are anywhere
    assert random_points(2, 3, generator, logits).shape == (2, 3, 2)


@pytest.mark.parametrize("rows", [1, 3])
def test_border_pixels_are_not_mixed_with_zero(rows):
    """Both with points of its own for every map, and with the same for all."""
    corners = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [0.0, 0.5]]]).expand(rows, -1, -1)
    assert torch.equal(sample_points(torch.ones(3, 2, 2), corners), torch.ones(3, 3))
