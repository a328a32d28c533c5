"""Overlaps as a table, against pycocotools, and against the definition of what is dropped."""

import numpy as np
import pytest
from pycocotools import mask as coco

from rmpsam_ros.segmentation.overlap import box_ious, distinct_boxes, iou, mask_iou, mask_ious


def block(x_min, y_min, x_max, y_max):
    mask = np.zeros((12, 16), bool)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


EMPTY, WHOLE = block(0, 0, 0, 0), block(0, 0, 16, 12)
PAIRS = {
    "same": (block(2, 2, 6, 6), block(2, 2, 6, 6), 1.0),
    "half": (block(0, 0, 4, 4), block(0, 0, 4, 2), 0.5),
    "a corner": (block(0, 0, 4, 4), block(2, 2, 6, 6), 4 / 28),
    "an edge": (block(0, 0, 4, 4), block(4, 0, 8, 4), 0.0),
    "apart": (block(0, 0, 2, 2), block(9, 9, 12, 12), 0.0),
    "nothing and something": (EMPTY, WHOLE, 0.0),
    "nothing and nothing": (EMPTY, EMPTY, 0.0),
    "everything": (WHOLE, WHOLE, 1.0),
}


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS.values(), ids=PAIRS)
def test_pairs_of_masks(first, second, expected):
    assert mask_iou(first, second) == mask_iou(second, first) == pytest.approx(expected)
    assert mask_ious(first[None], second[None]).item() == pytest.approx(expected)
    packed = [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in (first, second)]
    assert coco.iou(packed[:1], packed[1:], [0]).item() == pytest.approx(expected)


def test_many_masks_equal_pycocotools():
    rng = np.random.default_rng(0)
    first, second = (rng.random((count, 9, 11)) < share for count, share in ((5, 0.3), (7, 0.6)))
    packed = [
        [coco.encode(np.asfortranarray(m, np.uint8)) for m in masks] for masks in (first, second)
    ]
    expected = coco.iou(packed[0], packed[1], [0] * len(second))
    np.testing.assert_allclose(mask_ious(first, second), expected, rtol=1e-12)
    assert mask_ious(first[:0], second).shape == (0, 7)
    assert mask_ious(first, second[:0]).shape == (5, 0)


def test_masks_of_two_shapes():
    with pytest.raises(ValueError, match=r"shapes \(12, 16\) and \(2, 3\)"):
        mask_iou(WHOLE, np.zeros((2, 3), bool))


def test_boxes_equal_pycocotools():
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 50, (20, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    sized = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    expected = coco.iou(sized[:8], sized[8:], [0] * 12)
    np.testing.assert_allclose(box_ious(boxes[:8], boxes[8:]), expected, rtol=1e-9)
    assert box_ious([], boxes).shape == (0, 20)


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (5, 5, 5, 9), (9, 9, 5, 5)])
def test_a_box_without_area_overlaps_nothing(box):
    assert box_ious([box], [box, (0, 0, 20, 20)]).tolist() == [[0.0, 0.0]]


def test_areas_of_any_shapes():
    assert iou(2, [4, 2, 0], 2).tolist() == [0.5, 1.0, 0.0]


def test_of_boxes_that_overlap_the_first_stays():
    """The definition, box by box, and with ties at the limit."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 50, (60, 2))
    boxes = np.concatenate([first, first + rng.integers(1, 40, (60, 2))], axis=1)
    overlaps = box_ious(boxes, boxes)
    for limit in (0.0, 0.3, overlaps[0, overlaps[0] < 1].max()):
        expected = []
        for k in range(60):
            if all(overlaps[k, other] <= limit for other in expected):
                expected.append(k)
        assert distinct_boxes(boxes, limit) == expected
        assert 1 < len(expected) < 60
    assert distinct_boxes(boxes[:0], 0.5) == []
    assert distinct_boxes(np.zeros((2, 4)), 0.5) == [0, 1]
