"""Outlines of masks: closed, at the centres of their pixels, without crumbs."""

import numpy as np
import pytest

from rmpsam_ros.segmentation.outlines import mask_outlines
from rmpsam_ros.segmentation.run_length import encode_mask


def outlines(*boxes, size=(60, 80)):
    mask = np.zeros(size, bool)
    for x, y, width, height in boxes:
        mask[y : y + height, x : x + width] = True
    return mask_outlines(encode_mask(mask))


def test_a_rectangle():
    (found,) = outlines((10, 20, 30, 15))
    assert {tuple(point) for point in found.tolist()} == {(10, 20), (39, 20), (10, 34), (39, 34)}
    assert found.dtype == np.float32


def test_parts_come_largest_first_and_crumbs_do_not():
    found = outlines((0, 0, 5, 5), (10, 10, 40, 40), (70, 0, 2, 2), (60, 50, 1, 1))
    assert [len(one) for one in found] == [4]
    found = outlines((0, 0, 12, 12), (20, 10, 40, 40))
    assert [int(one[:, 0].max()) for one in found] == [59, 11]


@pytest.mark.parametrize("box", [(3, 3, 1, 1), (3, 3, 2, 1), (0, 0, 0, 0)])
def test_what_has_no_area_has_no_outline(box):
    assert outlines(box) == []


def test_the_outline_stays_near_the_mask():
    rows, columns = np.mgrid[:100, :100]
    mask = (rows - 50) ** 2 + (columns - 40) ** 2 < 30**2
    (found,) = mask_outlines(encode_mask(mask))
    radius = np.hypot(found[:, 0] - 40, found[:, 1] - 50)
    assert len(found) < 40 and radius.min() > 27 and radius.max() < 31


def test_every_part_is_somewhere_in_the_image():
    whole = outlines((0, 0, 80, 60))[0]
    assert whole.min() == 0 and whole.max(axis=0).tolist() == [79, 59]
