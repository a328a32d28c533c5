"""Kernels on maps and runs of any shape: equal to NumPy, and bad runs are refused."""

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="requirements/test-fuzz.txt")

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as some

from rmpsam_ros.segmentation.run_length import (
    RunLengthMask,
    decode_id_map,
    decode_mask,
    encode_id_map,
    encode_mask,
    encode_segments,
)


@dataclass(frozen=True)
class Segment:
    id: int
    box: tuple[int, int, int, int]


@some.composite
def maps(draw, values):
    """An id map with runs of any length."""
    height, width = draw(some.integers(1, 40)), draw(some.integers(1, 150))
    rng = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    lengths = rng.integers(1, draw(some.integers(1, 400)) + 1, height * width)
    drawn = rng.integers(0, values, len(lengths), np.uint16)
    return np.repeat(drawn, lengths)[: height * width].reshape(height, width)


@given(maps(5))
def test_id_maps(id_map):
    ids, lengths = encode_id_map(id_map)
    assert (ids[1:] != ids[:-1]).all() and (lengths > 0).all()
    np.testing.assert_array_equal(decode_id_map(ids, lengths, *id_map.shape), id_map)


@given(maps(4))
def test_segments(id_map):
    segments = []
    for number in np.unique(id_map[id_map > 0]).tolist():
        rows, columns = np.nonzero(id_map == number)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        segments.append(Segment(number, tuple(map(int, box))))
    masks = encode_segments(encode_id_map(id_map), id_map.shape, segments)
    for segment, mask in zip(segments, masks, strict=True):
        expected = id_map == segment.id
        np.testing.assert_array_equal(decode_mask(mask), expected)
        alone = encode_mask(expected)
        assert (mask.box, mask.counts.tolist()) == (alone.box, alone.counts.tolist())
        assert mask.area == expected.sum()


@given(maps(2), some.integers(-2, 60), some.integers(-2, 60))
def test_points_on_masks(id_map, x, y):
    mask = id_map > 0
    height, width = mask.shape
    inside = 0 <= x < width and 0 <= y < height and bool(mask[y, x])
    assert encode_mask(mask).covers(float(x), float(y)) == inside


lengths = some.lists(some.integers(0, 2**32 - 1), max_size=20)


@given(lengths, some.lists(some.integers(0, 65535), max_size=20), some.integers(0, 99),
       some.integers(0, 99))  # fmt: skip
def test_runs_that_do_not_fit(counts, ids, height, width):
    try:
        decoded = decode_id_map(
            np.array(ids, np.uint16), np.array(counts, np.uint32), height, width
        )
    except ValueError as error:
        assert str(error)
        return
    assert decoded.shape == (height, width)


@given(lengths, some.tuples(*[some.integers(-3, 60)] * 4), some.integers(0, 50),
       some.integers(0, 50))  # fmt: skip
def test_masks_that_do_not_fit(counts, box, height, width):
    try:
        decoded = decode_mask(RunLengthMask(height, width, box, np.array(counts, np.uint32)))
    except ValueError as error:
        assert str(error)
        return
    assert decoded.shape == (height, width)
