"""Pixels drawn from run lengths: all of a small mask, evenly many of a large one."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.geometry.mask_pixels import mask_pixels
from rmpsam_ros.segmentation.run_length import RunLengthMask, encode_mask


@pytest.mark.parametrize("seed", range(6))
def test_all_pixels_of_a_small_mask(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((31, 47), np.bool_)
    mask[3:20, 5:40] = rng.random((17, 35)) < rng.random()
    rows, columns = mask_pixels(encode_mask(mask), 10_000)
    np.testing.assert_array_equal(np.stack([rows, columns], axis=1), np.argwhere(mask))


@pytest.mark.parametrize("seed", range(6))
def test_pixels_of_a_large_mask_lie_in_it_and_are_different(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((200, 300), np.bool_)
    mask[20:180, 30:290] = rng.random((160, 260)) < 0.7
    rows, columns = mask_pixels(encode_mask(mask), 500)
    assert len(rows) == 500
    assert mask[rows, columns].all()
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == 500


@pytest.mark.parametrize("width", [100, 128, 1000])
def test_they_are_in_step_with_no_row_length(width):
    """A regular choice would take the same few columns of every row."""
    rows, columns = mask_pixels(encode_mask(np.ones((width, width), np.bool_)), 1000)
    for places in (rows, columns):
        shares = np.histogram(places, bins=10, range=(0, width))[0] / 1000
        assert shares.min() > 0.06 and shares.max() < 0.14
        assert places.min() < 0.01 * width + 1 and places.max() > 0.99 * width - 2


def test_the_choice_is_always_the_same():
    mask = encode_mask(np.ones((300, 300), np.bool_))
    np.testing.assert_array_equal(mask_pixels(mask, 64), mask_pixels(mask, 64))


def test_an_empty_mask_has_none():
    empty = RunLengthMask(10, 10, (0, 0, 0, 0), np.empty(0, np.uint32))
    rows, columns = mask_pixels(empty, 5)
    assert rows.size == columns.size == 0
