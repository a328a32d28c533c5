"""Prompts: what is refused, how they reach the network, what several of them mean."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.segmentation.preprocess import Letterbox, fit
from rmpsam_ros.segmentation.prompt_types import (
    MAX_BOXES,
    MAX_POINTS,
    ObjectPrompt,
    PromptError,
    combine_prompt_masks,
    prompt_boxes,
    validate_prompt,
)


def prompt(points=(), labels=None, boxes=()):
    points = np.array(points, np.float32).reshape(-1, 2)
    labels = np.ones(len(points), np.uint8) if labels is None else np.array(labels)
    return ObjectPrompt(points, labels, np.array(boxes, np.float32).reshape(-1, 4))


SIZE = (100, 200)  # height, width
NAN, INF = float("nan"), float("inf")

GOOD = [
    prompt([(0, 0)]),
    prompt([(-0.5, -0.5), (199.5, 99.5)]),
    prompt(boxes=[(0, 0, 200, 100)]),
    prompt(boxes=[(5, 5, 5.5, 5.5)]),
    prompt([(3, 3)], [0], [(0, 0, 9, 9)]),
    prompt([(3, 3), (9, 9)], [0, 1]),
    prompt([(1, 1)] * MAX_POINTS, None, [(0, 0, 9, 9)] * MAX_BOXES),
]

BAD = [
    (prompt(), "at least one foreground point or one box"),
    (prompt([(3, 3)], [0]), "at least one foreground point or one box"),
    (prompt([(3, 3)], [2]), "labels must be 0"),
    (prompt([(3, 3)], [-1]), "labels must be 0"),
    (prompt([(3, 3)], [0.5]), "labels must be 0"),
    (prompt([(3, 3)], [NAN]), "labels must be 0"),
    (prompt([(3, 3)], [1, 1]), "one label each"),
    (prompt([(NAN, 3)]), "outside"),
    (prompt([(3, INF)]), "outside"),
    (prompt([(3, -INF)]), "outside"),
    (prompt([(200, 3)]), "outside the 200 x 100 image"),
    (prompt([(3, 100)]), "outside the 200 x 100 image"),
    (prompt([(-0.6, 3)]), "outside"),
    (prompt([(1, 1), (3, 1000)]), "outside"),
    (prompt(boxes=[(9, 0, 3, 5)]), "x_max > x_min"),
    (prompt(boxes=[(0, 9, 3, 5)]), "y_max > y_min"),
    (prompt(boxes=[(3, 3, 3, 5)]), "x_max > x_min"),
    (prompt(boxes=[(3, 3, 5, 3)]), "y_max > y_min"),
    (prompt(boxes=[(-1, 0, 3, 5)]), "outside.*clip"),
    (prompt(boxes=[(0, 0, 201, 5)]), "outside.*clip"),
    (prompt(boxes=[(0, 0, 5, 101)]), "outside.*clip"),
    (prompt(boxes=[(0, 0, NAN, 5)]), "outside"),
    (prompt(boxes=[(NAN, 0, 5, 5)]), "outside"),
    (prompt(boxes=[(0, NAN, 5, 5)]), "outside"),
    (prompt(boxes=[(0, 0, 5, NAN)]), "outside"),
    (prompt(boxes=[(0, 0, 5, INF)]), "outside"),
    (prompt([(1, 1)], None, [(0, 0, 9, 9), (9, 9, 0, 0)]), "x_max > x_min"),
    (prompt([(1, 1)] * (MAX_POINTS + 1)), "at most"),
    (prompt(boxes=[(0, 0, 9, 9)] * (MAX_BOXES + 1)), "at most"),
    (ObjectPrompt(np.zeros((2, 3)), np.ones(2), np.zeros((0, 4))), r"\(P, 2\)"),
    (ObjectPrompt(np.zeros(2), np.ones(1), np.zeros((0, 4))), r"\(P, 2\)"),
    (ObjectPrompt(np.zeros((1, 2)), np.ones(1), np.zeros((1, 3))), r"\(B, 4\)"),
]


@pytest.mark.parametrize("good", GOOD, ids=range(len(GOOD)))
def test_accepts(good):
    validate_prompt(good, SIZE)


@pytest.mark.parametrize("bad, message", BAD, ids=range(len(BAD)))
def test_refuses(bad, message):
    with pytest.raises(PromptError, match=message):
        validate_prompt(bad, SIZE)


def test_official_click_boxes(golden, cases):
    """Clicks on the official test picture, given in its original size, reach the same boxes."""
    facts = cases["interactive_e2e"]
    image, resized = tuple(facts["ori_shape"]), tuple(facts["img_shape"])
    expected = golden("interactive_e2e")["points_xyxy"].astype(np.float64)
    centers = (expected[:, :2] + expected[:, 2:]) / 2
    scale = np.array([image[1] / resized[1], image[0] / resized[0]])
    clicks = (centers + 0.5) * scale - 0.5
    boxes, signs = prompt_boxes(prompt(clicks), Letterbox(image, resized, (128, 192)))
    height, width = resized
    np.testing.assert_allclose(boxes * (width, height, width, height), expected, atol=1e-4)
    assert boxes.dtype == np.float32 and signs.tolist() == [1] * len(boxes)


def test_boxes_and_signs_in_order():
    geometry = Letterbox((100, 200), (50, 100), (64, 128))
    mixed = prompt([(9.5, 19.5), (0, 0)], [1, 0], [(20, 10, 200, 100)])
    boxes, signs = prompt_boxes(mixed, geometry)
    expected = [
        (4.5 - 3, 9.5 - 3, 4.5 + 3, 9.5 + 3),
        (-3.25, -3.25, 2.75, 2.75),  # not clipped at the border
        (10, 5, 100, 50),
    ]
    np.testing.assert_allclose(boxes * (100, 50, 100, 50), expected, atol=1e-4)
    assert signs.tolist() == [1, -1, 1]
    assert boxes.flags.c_contiguous


def test_boxes_of_the_padded_image_are_those_of_the_image_times_its_share():
    geometry = Letterbox((100, 200), (50, 100), (64, 128))
    one = prompt([(20, 30)], boxes=[(0, 0, 200, 100)])
    boxes, signs = prompt_boxes(one, geometry)
    padded, same_signs = prompt_boxes(one, geometry, padded=True)
    share = np.array([100 / 128, 50 / 64] * 2)
    np.testing.assert_allclose(padded, boxes * share, rtol=1e-6)
    np.testing.assert_array_equal(signs, same_signs)


GEOMETRY = fit((75, 101), (96, 64))


@pytest.fixture(scope="module")
def logits(scenes):
    size = GEOMETRY.padded_size[0] // 4, GEOMETRY.padded_size[1] // 4
    return scenes.blobs(np.random.default_rng(0), 6, size, scale=4.0)


def plain(full, signs):
    """The rule of the module on full-resolution logits (K, H, W)."""
    claim = full[signs > 0].max(axis=0)
    oppose = full[signs < 0].max(axis=0) if (signs < 0).any() else np.full_like(claim, -np.inf)
    return (claim > 0) & (claim >= oppose), np.minimum(np.abs(claim), np.abs(claim - oppose))


@pytest.mark.parametrize(
    "signs",
    [
        (1,),
        (1, 1),
        (1, 1, 1, 1, 1, 1),
        (1, -1),
        (-1, 1),
        (1, -1, -1),
        (1, 1, -1, 1, -1, -1),
    ],
)
def test_combination_equals_plain(reference, logits, signs):
    signs = np.array(signs, np.int8)
    masks = logits[: len(signs)]
    ious = np.full(len(signs), 0.7, np.float32)
    mask, score = combine_prompt_masks(masks, signs, ious, GEOMETRY)
    expected, margin = plain(reference.resample(masks, GEOMETRY).numpy(), signs)
    assert mask.dtype == np.bool_ and mask.shape == GEOMETRY.image_size
    assert not ((mask != expected) & (margin > 1e-4)).any()
    assert mask.any() and not mask.all()
    assert score == pytest.approx(0.7)


@pytest.mark.parametrize("seed", range(10))
def test_one_prompt_is_the_official_mask(reference, scenes, seed):
    """docs/reference/rmpsam.md, section 11: resize, and logit > 0; nothing else."""
    rng = np.random.default_rng(seed)
    image = tuple(int(side) for side in rng.integers(1, 150, 2))
    geometry = fit(image, (160, 120))
    size = geometry.padded_size[0] // 4, geometry.padded_size[1] // 4
    masks = scenes.blobs(rng, 1, size) if seed % 2 else scenes.noise(rng, 1, size)
    mask, _ = combine_prompt_masks(masks, np.ones(1), np.ones(1, np.float32), geometry)
    full = reference.resample(masks, geometry)[0].numpy()
    assert not ((mask != (full > 0)) & (np.abs(full) > 1e-4)).any()


def test_logit_of_zero_is_outside():
    zero = np.zeros((1, 4, 4), np.float32)
    mask, score = combine_prompt_masks(zero, np.ones(1), np.ones(1), fit((9, 9), (32, 32)))
    assert not mask.any() and score == 0.0


def test_logit_of_zero_is_outside_beside_others():
    row = np.array([[[-1.0, 0.0, 1.0]]], np.float32)
    geometry = Letterbox((1, 3), (1, 3), (1, 3))
    mask, _ = combine_prompt_masks(row, np.ones(1), np.ones(1), geometry)
    assert mask.tolist() == [[False, False, True]]


def test_background_takes_pixels_and_ties_stay():
    masks = np.zeros((2, 1, 3), np.float32)
    masks[0, 0], masks[1, 0] = (2.0, 2.0, 2.0), (1.0, 2.0, 3.0)
    geometry = Letterbox((1, 3), (1, 3), (1, 3))
    mask, _ = combine_prompt_masks(masks, np.array([1, -1]), np.ones(2), geometry)
    assert mask.tolist() == [[True, True, False]]


@pytest.mark.parametrize(
    "ious, expected", [((0.4, 0.8, 9.0), 0.6), ((1.5, 1.5, 0), 1.0), ((-0.2, -3.0, 1), 0.0)]
)
def test_score_is_the_mean_foreground_quality(ious, expected):
    masks = np.ones((3, 4, 4), np.float32)
    signs = np.array([1, 1, -1], np.int8)
    _, score = combine_prompt_masks(masks, signs, np.array(ious), fit((9, 9), (32, 32)))
    assert score == pytest.approx(expected)


ONES = np.ones((2, 4, 4), np.float32)


@pytest.mark.parametrize(
    "masks, signs, ious, message",
    [
        (ONES.astype(np.float64), [1, 1], [1, 1], "float32"),
        (ONES[0], [1, 1], [1, 1], "queries, h, w"),
        (ONES[:0], [], [], "queries, h, w"),
        (ONES, [1], [1, 1], "as many"),
        (ONES, [1, 1], [1], "as many"),
        (ONES, [-1, -1], [1, 1], "foreground"),
    ],
)
def test_combination_refuses(masks, signs, ious, message):
    with pytest.raises(ValueError, match=message):
        combine_prompt_masks(masks, np.array(signs), np.array(ious), fit((9, 9), (32, 32)))


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_combination_refuses_broken_numbers(value):
    broken = ONES.copy()
    broken[1, 2, 2] = value
    geometry = fit((9, 9), (32, 32))
    with pytest.raises(FloatingPointError):
        combine_prompt_masks(broken, np.array([1, -1]), np.ones(2), geometry)
    if np.isnan(value):
        with pytest.raises(FloatingPointError):
            combine_prompt_masks(ONES, np.array([1, -1]), np.array([value, 1]), geometry)
