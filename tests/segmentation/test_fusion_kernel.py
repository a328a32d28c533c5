"""The fusion kernel where its shortcuts could show: close calls, ties, corners, odd numbers."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros import _native


def fuse(logits, scores, image=None):
    """Codes (H, W) of queries (N, h, w) on an image of their own size, or of another one."""
    size = logits.shape[1:]
    image = image or size
    sizes = np.array((*size, *size, *size, *image), np.int32)
    selection = np.arange(len(logits), dtype=np.int32)
    scores = np.asarray(scores, np.float32)
    runs, won, boxes, claimed, finite = _native.fuse(
        np.ascontiguousarray(logits, np.float32), selection, scores, sizes
    )
    assert not finite.all() or (runs[0][1:] != runs[0][:-1]).all()
    codes = np.repeat(runs[0], runs[1]).reshape(image) if finite.all() else None
    return codes, runs, won, boxes, claimed, finite


def expected_values(logits, scores):
    """Score * sigmoid in double precision, of the numbers that the kernel is given."""
    scores = np.asarray(scores, np.float32).astype(np.float64)
    return scores[:, None, None] / (1.0 + np.exp(-logits.astype(np.float64)))


@pytest.mark.parametrize("level", [-80.0, -30.0, -5.0, -0.5, 0.5, 4.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_winners_of_close_calls_are_exact(level, seed):
    """Values a few millionths apart are told apart; bounds are only good to some per cent."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.5, 1.0, 6).astype(np.float32)
    chance = 1.0 / (1.0 + np.exp(-level))
    target = 0.4 * chance * (1.0 + rng.normal(0.0, 1e-5, (6, 70, 90)))
    ratio = target / scores[:, None, None].astype(np.float64)
    logits = np.log(ratio / (1.0 - ratio)).astype(np.float32)
    values = expected_values(logits, scores)
    codes, *_ = fuse(logits, scores)
    two = np.sort(values, axis=0)[-2:]
    clear = two[1] > two[0] * (1.0 + 3e-6)
    assert clear.mean() > 0.5 or level == -80.0  # there, a logit is good to four millionths only
    np.testing.assert_array_equal(codes[clear] // 2, values.argmax(axis=0)[clear])


@pytest.mark.parametrize("level", [40.0, 5.0, 0.0, -3.0, -60.0, -88.0, -100.0])
@pytest.mark.parametrize("image", [(48, 64), (77, 131)])
def test_first_of_equals_wins(scenes, level, image):
    """Of queries with the same masks and scores the first one gets everything."""
    rng = np.random.default_rng(5)
    mask = scenes.blobs(rng, 1, (48, 64), scale=1.0)[0] + np.float32(level)
    weak = np.full_like(mask, level - 2.0)
    logits = np.stack([weak, mask, mask, weak, mask])
    _, _, won, *_ = fuse(logits, [0.7, 0.7, 0.7, 0.7, 0.7], image)
    area = image[0] * image[1]
    if level >= 20.0 or level <= -95.0:  # all saturated: even the weak one is an equal
        assert won.sum(axis=1).tolist() == [area, 0, 0, 0, 0]
    else:
        assert won.sum(axis=1)[2:].tolist() == [0, 0, 0]
        assert won.sum() == area
        assert won[1].sum() > 0.9 * area or level == -88.0


@pytest.mark.parametrize("level", [-95.0, -120.0, -1e30])
def test_where_all_values_are_zero_the_first_wins(level):
    """Whatever the scores and the order of the logits: in single precision nobody has anything."""
    rng = np.random.default_rng(2)
    logits = (level * rng.uniform(1.0, 1.1, (5, 40, 50))).astype(np.float32)
    codes, *_ = fuse(logits, [0.1, 0.9, 0.5, 1.0, 0.9])
    assert (codes == 1).all()


def test_equals_by_pixel_go_to_the_first_whatever_takes_the_block():
    """A stronger query elsewhere in a block does not change who wins its equal pixels."""
    rng = np.random.default_rng(8)
    logits = rng.integers(-3, 4, (9, 50, 60)).astype(np.float32)
    codes, *_ = fuse(logits, np.full(9, 0.8))
    np.testing.assert_array_equal(codes // 2, logits.argmax(axis=0))
    np.testing.assert_array_equal(codes % 2, logits.max(axis=0) < 0)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 255, 256, 257, 511, 530])
@pytest.mark.parametrize("height", [1, 16, 35])
def test_single_pixels_anywhere(width, height):
    """A query that matters in one pixel only is found, in every block and span."""
    rng = np.random.default_rng(width * height)
    last = width * height - 1
    places = np.append(rng.choice(last, min(40, last), replace=False), last).astype(np.int64)
    number = len(places)
    logits = np.full((number + 1, height * width), -9.0, np.float32)
    logits[0] = -4.0
    logits[np.arange(number) + 1, places] = 6.0
    codes, _, won, boxes, claimed, _ = fuse(
        logits.reshape(-1, height, width), np.linspace(0.6, 0.9, number + 1)
    )
    expected = np.ones(height * width, np.uint16)  # query 0, unsure
    expected[places] = 2 * np.arange(1, number + 1)
    np.testing.assert_array_equal(codes.ravel(), expected)
    assert claimed.tolist() == [0] + [1] * number
    ys, xs = np.divmod(places, width)
    np.testing.assert_array_equal(boxes[1:, 0], np.stack([xs, ys, xs + 1, ys + 1], axis=1))
    assert won[1:].tolist() == [[1, 0]] * number


def test_runs_of_all_strips_are_joined():
    logits = np.full((1, 100, 40), 3.0, np.float32)
    _, runs, won, *_ = fuse(logits, [0.9])
    assert runs[0].tolist() == [0] and runs[1].tolist() == [4000]
    assert won.tolist() == [[4000, 0]]


@pytest.mark.parametrize("width", [*range(1, 36), 47, 48, 49, 64, 65])
def test_runs_of_rows_of_any_width(width):
    """Runs end at any distance from the border, and from that of what is compared at once."""
    rng = np.random.default_rng(width)
    values = rng.choice([0, 1, 256, 257, 65535], 9 * width)
    values = np.repeat(values, rng.integers(1, 9, 9 * width))
    labels = values[: 7 * width].reshape(7, width).astype(np.uint16)
    found, lengths = _native.encode_map(labels)
    np.testing.assert_array_equal(np.repeat(found, lengths), labels.ravel())
    assert (found[1:] != found[:-1]).all() and (lengths > 0).all()


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (0, 36), (8, 17), (22, 36), (13, 15)])
def test_a_logit_that_is_not_finite_is_found(bad, place):
    logits = np.zeros((3, 23, 37), np.float32)
    logits[1][place] = bad
    *_, finite = fuse(logits, [0.5, 0.6, 0.7])
    assert finite.tolist() == [True, False, True]


def test_infinities_do_not_hide_each_other():
    logits = np.zeros((2, 20, 20), np.float32)
    logits[1, 4, 4], logits[1, 5, 4] = np.inf, -np.inf
    assert fuse(logits, [0.5, 0.6])[-1].tolist() == [True, False]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_huge_logits_are_finite(sign):
    """Their sum is infinite, but none of them."""
    logits = np.full((2, 40, 40), 2e38 * sign, np.float32)
    logits[0] = 0.0
    codes, *_, finite = fuse(logits, [0.5, 0.6])
    assert finite.all()
    assert (codes == (2 if sign > 0 else 0)).all()
