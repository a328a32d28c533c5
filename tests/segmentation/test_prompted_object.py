"""The mask of a prompted object: no farther than its prompt points."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.segmentation.preprocess import fit
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt, combine_prompt_masks
from rmpsam_ros.segmentation.prompted_object import connected_parts, object_mask

SIZE = (64, 128)  # height, width
GEOMETRY = fit(SIZE, (128, 64))
LEFT, MIDDLE, RIGHT = (slice(20, 40), slice(60, 72), slice(100, 120))


def prompt(points=(), boxes=()):
    table = np.array(points, np.float32).reshape(-1, 3)
    return ObjectPrompt(
        table[:, :2], table[:, 2].astype(np.uint8), np.array(boxes, np.float32).reshape(-1, 4)
    )


def logits(*columns, strength=10.0):
    """Mask logits of one query, at image size, that claim columns of the rows 16 to 48."""
    one = np.full(SIZE, -10.0, np.float32)
    for part in columns:
        one[16:48, part] = strength
    return one


def found(mask):
    """First and last column of every run of columns that a mask has pixels in."""
    edges = np.flatnonzero(np.diff(mask.any(axis=0).astype(int), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), (edges[1::2]).tolist(), strict=True))


CASES = {
    "a click keeps the part that it hits": (
        prompt([(30, 30, 1)]),
        [logits(LEFT, RIGHT)],
        [(20, 40)],
    ),
    "a click beside a part, by less than its radius": (
        prompt([(18, 30, 1)]),
        [logits(LEFT, RIGHT)],
        [(20, 40)],
    ),
    "a click that hits nothing changes nothing": (
        prompt([(50, 30, 1)]),
        [logits(LEFT, RIGHT)],
        [(20, 40), (100, 120)],
    ),
    "two clicks keep both parts, whoever found them": (
        prompt([(30, 30, 1), (110, 30, 1)]),
        [logits(LEFT, MIDDLE, RIGHT), logits(RIGHT)],
        [(20, 40), (100, 120)],
    ),
    "a background click takes its own away, and what hung on it": (
        prompt([(30, 30, 1), (66, 30, 0)]),
        [logits(slice(20, 120)), logits(MIDDLE, strength=20.0)],
        [(20, 60)],
    ),
    "a box ends what goes on outside, with a margin": (
        prompt(boxes=[(20, 10, 60, 54)]),
        [logits(slice(10, 128))],
        [(18, 62)],
    ),
    "a box leaves alone what lies inside": (
        prompt(boxes=[(0, 0, 128, 64)]),
        [logits(LEFT, RIGHT)],
        [(20, 40), (100, 120)],
    ),
    "two boxes are two parts": (
        prompt(boxes=[(20, 10, 40, 54), (100, 10, 120, 54)]),
        [logits(slice(0, 128)), logits(slice(0, 128))],
        [(19, 41), (99, 121)],
    ),
    "a box does not end what a click found": (
        prompt([(110, 30, 1)], [(20, 10, 40, 54)]),
        [logits(RIGHT, MIDDLE), logits(LEFT, MIDDLE)],
        [(20, 40), (100, 120)],
    ),
    "a box with nothing in it": (prompt(boxes=[(44, 10, 56, 54)]), [logits(LEFT)], []),
}


@pytest.mark.parametrize("name", CASES)
def test_mask(name):
    asked, answers, expected = CASES[name]
    ious = np.full(len(answers), 0.8, np.float32)
    mask, score = object_mask(np.stack(answers), ious, asked, GEOMETRY)
    assert mask.shape == SIZE and mask.dtype == np.bool_
    assert found(mask) == expected
    assert score == (pytest.approx(0.8) if expected else 0.0)


def test_rows_end_as_columns_do():
    asked = prompt(boxes=[(10, 20, 110, 40)])
    tall = np.full((1, *SIZE), 10.0, np.float32)
    mask, _ = object_mask(tall, np.ones(1, np.float32), asked, GEOMETRY)
    assert np.flatnonzero(mask.any(axis=1)).tolist() == list(range(19, 41))
    assert found(mask) == [(5, 115)]
    wider, _ = object_mask(tall, np.ones(1, np.float32), asked, GEOMETRY, box_margin=0.5)
    assert np.flatnonzero(wider.any(axis=1)).tolist() == list(range(10, 50))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_in_one_piece_and_inside_is_the_raw_answer(seed):
    """Union and background rule are those of `combine_prompt_masks`."""
    generator = np.random.default_rng(seed)
    asked = prompt([(30, 30, 1), (90, 20, 0)], [(0, 0, 128, 64)])
    answers = generator.normal(size=(3, *SIZE)).astype(np.float32)
    answers[0, 10:40, 10:80] = 3.0
    answers[0][answers[0] < 2.5] = -3.0
    signs, ious = np.array([1, -1, 1], np.int8), np.array([0.4, 0.1, 1.2], np.float32)
    raw, score = combine_prompt_masks(answers, signs, ious, GEOMETRY)
    mask, same_score = object_mask(answers, ious, asked, GEOMETRY)
    parts = connected_parts(
        combine_prompt_masks(answers[:2], signs[:2], ious[:2], GEOMETRY)[0], asked.points[:1]
    )
    boxed = combine_prompt_masks(answers[[2, 1]], np.array([1, -1]), ious[[2, 1]], GEOMETRY)[0]
    np.testing.assert_array_equal(mask, parts | boxed)
    assert not (mask & ~raw).any() and (raw & ~mask).sum() < 0.2 * raw.sum()
    assert same_score == pytest.approx(score) == pytest.approx(0.7)


def test_scores_are_brought_into_0_to_1():
    both = prompt([(30, 30, 1), (110, 30, 1)])
    answers = np.stack([logits(LEFT), logits(RIGHT)])
    _, score = object_mask(answers, np.array([1.4, -0.2], np.float32), both, GEOMETRY)
    assert score == pytest.approx(0.5)


def test_broken_numbers_are_refused():
    answers = np.stack([logits(LEFT), logits(RIGHT)])
    both = prompt([(30, 30, 1), (110, 30, 1)])
    with pytest.raises(FloatingPointError):
        object_mask(answers, np.array([0.5, np.nan], np.float32), both, GEOMETRY)
    answers[1, 3, 3] = np.inf
    with pytest.raises(FloatingPointError):
        object_mask(answers, np.ones(2, np.float32), both, GEOMETRY)
