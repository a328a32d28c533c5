"""Run lengths: exact round trips, the message's own definition, malformed input."""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rmpsam_ros.segmentation.run_length import (
    RunLengthMask,
    decode_id_map,
    decode_mask,
    encode_id_map,
    encode_mask,
    encode_segments,
    mask_of_message,
)


def random_map(rng, size, values, run):
    """A map with runs of random length, some of which continue in the next row."""
    count = size[0] * size[1]
    lengths = rng.integers(1, run + 1, count)
    return np.repeat(rng.integers(0, values, count), lengths)[:count].reshape(size)


SIZES = [(1, 1), (1, 17), (17, 1), (3, 5), (16, 16), (31, 33), (64, 257)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("values, run", [(2, 1), (3, 4), (65536, 2), (5, 70), (1, 9)])
def test_id_map_round_trip(size, values, run):
    rng = np.random.default_rng(values + run)
    id_map = random_map(rng, size, values, run).astype(np.uint16)
    ids, lengths = encode_id_map(id_map)
    assert ids.dtype == np.uint16 and lengths.dtype == np.uint32
    assert lengths.sum() == id_map.size and (lengths > 0).all()
    assert (ids[1:] != ids[:-1]).all()
    np.testing.assert_array_equal(decode_id_map(ids, lengths, *size), id_map)


def test_id_map_run_continues_in_the_next_row():
    ids, lengths = encode_id_map(np.array([[1, 2, 2], [2, 2, 2], [2, 0, 0]], np.uint16))
    assert ids.tolist() == [1, 2, 0] and lengths.tolist() == [1, 6, 2]


@pytest.mark.parametrize(
    "ids, lengths, size, message",
    [
        ([1], [5], (2, 3), "add up to 5"),
        ([1], [7], (2, 3), "add up to 7"),
        ([1, 2], [6], (2, 3), "one length"),
        ([[1]], [[6]], (2, 3), "one length"),
        ([1, 1], [2**32 - 1, 7], (2, 3), "add up to 4294967302"),  # 6 in 32 bits
        ([], [], (0, 0), "add up to 0"),
        ([1], [6], (-2, -3), "add up to 6"),
    ],
)
def test_decode_id_map_refuses(ids, lengths, size, message):
    with pytest.raises(ValueError, match=message):
        decode_id_map(np.array(ids, np.uint16), np.array(lengths, np.uint32), *size)


@pytest.mark.parametrize(
    "id_map, message",
    [
        (np.zeros((2, 2), np.int32), "uint16 array, got int32"),
        (np.zeros(4, np.uint16), r"\(4,\)"),
        (np.zeros((0, 2), np.uint16), r"\(0, 2\)"),
        (np.zeros((1, 2, 2), np.uint16), r"\(1, 2, 2\)"),
        ([[1]], "list"),
    ],
)
def test_encode_id_map_refuses(id_map, message):
    with pytest.raises(ValueError, match=message):
        encode_id_map(id_map)


def check_counts(mask):
    """The rules that the message states."""
    x_min, y_min, x_max, y_max = mask.box
    assert mask.counts.dtype == np.uint32
    assert mask.counts.sum() == (x_max - x_min) * (y_max - y_min)
    assert (mask.counts[1:] > 0).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("run", [1, 3, 40])
def test_mask_round_trip(size, run):
    rng = np.random.default_rng(run)
    for _ in range(5):
        mask = random_map(rng, size, 2, run).astype(bool)
        mask[:, : rng.integers(0, size[1] + 1)] = False
        encoded = encode_mask(mask)
        check_counts(encoded)
        np.testing.assert_array_equal(decode_mask(encoded), mask)
        assert encoded.area == mask.sum()
        if mask.any():
            ys, xs = np.nonzero(mask)
            assert encoded.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@pytest.mark.parametrize(
    "rows, box, counts",
    [
        (["....", "....", "...."], (0, 0, 0, 0), []),
        (["####", "####", "####"], (0, 0, 4, 3), [0, 12]),
        (["....", ".#..", "...."], (1, 1, 2, 2), [0, 1]),
        (["....", ".##.", ".#.#"], (1, 1, 4, 3), [0, 2, 1, 1, 1, 1]),
        (["..#.", ".#..", "...."], (1, 0, 3, 2), [1, 2, 1]),
        (["#...", "...#", "...."], (0, 0, 4, 2), [0, 1, 6, 1]),
    ],
)
def test_counts_by_hand(rows, box, counts):
    mask = np.array([[cell == "#" for cell in row] for row in rows])
    encoded = encode_mask(mask)
    assert encoded.box == box and encoded.counts.tolist() == counts
    np.testing.assert_array_equal(decode_mask(encoded), mask)


def test_mask_within_a_box():
    mask = np.zeros((20, 30), bool)
    mask[5:9, 10:14] = True
    whole = encode_mask(mask)
    for box in [(10, 5, 14, 9), (8, 3, 20, 12), (0, 0, 30, 20)]:
        part = encode_mask(mask, box)
        assert part.box == whole.box == (10, 5, 14, 9)
        assert (part.counts == whole.counts).all()
    assert encode_mask(mask, (0, 0, 5, 5)).box == (0, 0, 0, 0)
    assert encode_mask(mask, (3, 3, 3, 3)).counts.size == 0


@pytest.mark.parametrize("box", [(-1, 0, 3, 3), (0, 0, 31, 3), (0, 0, 3, 21), (5, 0, 3, 3)])
def test_encode_mask_refuses_box(box):
    with pytest.raises(ValueError, match="does not lie inside"):
        encode_mask(np.zeros((20, 30), bool), box)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_encode_mask_refuses_dtype(dtype):
    with pytest.raises(ValueError, match="bool array"):
        encode_mask(np.zeros((2, 2), dtype))


def test_encode_mask_takes_any_strides():
    mask = random_map(np.random.default_rng(0), (20, 30), 2, 5).astype(bool)
    for view in (mask[::-1], mask[:, ::-2], mask.T):
        np.testing.assert_array_equal(decode_mask(encode_mask(view)), view)


@pytest.mark.parametrize(
    "box, counts, message",
    [
        ((0, 0, 2, 2), [0, 3], "add up to 3"),
        ((0, 0, 2, 2), [0, 5], "add up to 5"),
        ((0, 0, 2, 2), [2**32 - 1, 5], "add up to 4294967300"),  # 4 in 32 bits
        ((0, 0, 9, 2), [0, 18], "leaves the 4 x 3"),
        ((0, -1, 2, 1), [0, 4], "leaves the 4 x 3"),
        ((2, 0, 0, 2), [0, 4], "leaves the 4 x 3"),
        ((0, 0, 0, 0), [0, 1], "add up to 1"),
    ],
)
def test_decode_mask_refuses(box, counts, message):
    with pytest.raises(ValueError, match=message):
        decode_mask(RunLengthMask(3, 4, box, np.array(counts, np.uint32)))


def segments_of(id_map):
    found = []
    for value in np.unique(id_map[id_map > 0]).tolist():
        ys, xs = np.nonzero(id_map == value)
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        found.append(SimpleNamespace(id=value, box=box))
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("values, run", [(2, 3), (6, 1), (6, 30), (300, 9)])
def test_segments_equal_single_masks(size, values, run):
    rng = np.random.default_rng(values + run)
    id_map = random_map(rng, size, values, run).astype(np.uint16)
    segments = segments_of(id_map)[::-1]
    masks = encode_segments(encode_id_map(id_map), size, segments)
    for segment, mask in zip(segments, masks, strict=True):
        check_counts(mask)
        alone = encode_mask(id_map == segment.id)
        assert mask.box == alone.box == segment.box
        assert (mask.height, mask.width) == size
        np.testing.assert_array_equal(mask.counts, alone.counts)


def test_some_segments_only():
    id_map = np.array([[1, 2, 3], [1, 2, 3]], np.uint16)
    chosen = [one for one in segments_of(id_map) if one.id != 2]
    runs = encode_id_map(id_map)
    masks = encode_segments(runs, (2, 3), chosen)
    assert [mask.box for mask in masks] == [(0, 0, 1, 2), (2, 0, 3, 2)]
    assert encode_segments(runs, (2, 3), []) == []


def test_segment_without_a_pixel_is_empty():
    absent = SimpleNamespace(id=9, box=(0, 0, 2, 1))
    (mask,) = encode_segments(encode_id_map(np.ones((2, 3), np.uint16)), (2, 3), [absent])
    assert mask.box == (0, 0, 0, 0) and mask.counts.size == 0


@pytest.mark.parametrize(
    "segments, message",
    [
        ([(1, (0, 0, 2, 2))], "outside the box"),  # id 1 fills the whole 3 x 2 map
        ([(1, (0, 1, 3, 2))], "outside the box"),
        ([(1, (0, 0, 3, 3))], "does not lie inside"),
        ([(1, (-1, 0, 3, 2))], "does not lie inside"),
        ([(1, (2, 0, 1, 2))], "does not lie inside"),
        ([(0, (0, 0, 3, 2))], "unique and from 1"),
        ([(70000, (0, 0, 3, 2))], "unique and from 1"),
        ([(1, (0, 0, 3, 2)), (1, (0, 0, 3, 2))], "unique and from 1"),
    ],
)
def test_encode_segments_refuses(segments, message):
    listed = [SimpleNamespace(id=value, box=box) for value, box in segments]
    with pytest.raises(ValueError, match=message):
        encode_segments(encode_id_map(np.ones((2, 3), np.uint16)), (2, 3), listed)


@pytest.mark.parametrize(
    "ids, lengths, message",
    [
        (np.array([1], np.uint16), np.array([5], np.uint32), "add up to 5"),
        (np.array([1, 2], np.uint16), np.array([6], np.uint32), "one length"),
        (np.array([1], np.int64), np.array([6], np.uint32), "got int64 and uint32"),
        (np.array([1], np.uint16), np.array([6], np.int64), "got uint16 and int64"),
    ],
)
def test_encode_segments_refuses_other_runs(ids, lengths, message):
    with pytest.raises(ValueError, match=message):
        encode_segments((ids, lengths), (2, 3), [])


def test_official_masks_survive_the_round_trip(golden, cases):
    """Masks of the official interactive protocol, coded and decoded, give its IoU."""
    arrays, facts = golden("interactive_e2e"), cases["interactive_e2e"]
    height, width = facts["ori_shape"]
    small = tuple(facts["img_shape"])
    for k in range(len(arrays["iou"])):
        packed = np.unpackbits(arrays["pred_masks_packed"][k], count=height * width)
        predicted = packed.reshape(height, width).astype(bool)
        decoded = decode_mask(encode_mask(predicted))
        np.testing.assert_array_equal(decoded, predicted)
        truth = np.unpackbits(arrays["gt_masks_packed"][k], count=small[0] * small[1])
        truth = torch.from_numpy(truth.reshape(1, 1, *small)).float()
        truth = F.interpolate(truth, (height, width), mode="bilinear")[0, 0].bool().numpy()
        iou = (decoded & truth).sum() / (decoded | truth).sum()
        assert iou == pytest.approx(float(arrays["iou"][k]), abs=1e-6)


@pytest.mark.parametrize(("size", "run"), [((1, 1), 1), ((16, 16), 3), ((31, 33), 50)])
def test_covers_is_the_nearest_pixel(size, run):
    mask = random_map(np.random.default_rng(5), size, 2, run).astype(bool)
    encoded = encode_mask(mask)
    for y, x in np.ndindex(size):
        for shift in (-0.5, 0.0, 0.49):
            assert encoded.covers(x + shift, y + shift) == mask[y, x]


@pytest.mark.parametrize(
    ("x", "y"), [(-0.6, 1), (1, -0.6), (4.5, 1), (1, 3.5), (1e300, 1), (float("nan"), 1)]
)
def test_nothing_outside_is_covered(x, y):
    assert not encode_mask(np.ones((4, 5), np.bool_)).covers(x, y)
    assert not encode_mask(np.zeros((4, 5), np.bool_)).covers(1, 1)


def test_the_mask_of_a_message_is_decoded_as_any_other():
    mask = np.zeros((9, 12), bool)
    mask[2:7, 3:5] = mask[4, 3:11] = True
    known = encode_mask(mask)
    x_min, y_min, x_max, y_max = known.box
    box = SimpleNamespace(
        x_offset=x_min, y_offset=y_min, width=x_max - x_min, height=y_max - y_min, do_rectify=False
    )
    message = SimpleNamespace(height=9, width=12, box=box, counts=array("I", known.counts))
    np.testing.assert_array_equal(decode_mask(mask_of_message(message)), mask)


def test_the_mask_of_an_empty_message_is_empty():
    box = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    message = SimpleNamespace(height=9, width=12, box=box, counts=array("I"))
    assert not decode_mask(mask_of_message(message)).any()
