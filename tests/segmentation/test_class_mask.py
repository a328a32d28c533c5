"""Masks of classes: which pixels, which values."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.segmentation.class_mask import class_mask
from rmpsam_ros.segmentation.results import PanopticResult, Segment

ID_MAP = np.array([[0, 1, 1, 2], [3, 3, 1, 2]], np.uint16)
SEGMENTS = (
    Segment(1, 5, True, 0.9, 3, (1, 0, 3, 2), 0),
    Segment(2, 7, False, 0.9, 2, (3, 0, 4, 2), 1),
    Segment(3, 5, True, 0.9, 2, (0, 1, 2, 2), 2),
)


@pytest.mark.parametrize(
    ("classes", "ids"),
    [({5}, {1, 3}), ({7}, {2}), ({5, 7}, {1, 2, 3}), (set(), set()), ({9}, set())],
)
def test_pixels_of_the_classes_are_255(classes, ids):
    mask = class_mask(PanopticResult(ID_MAP, SEGMENTS), classes)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, 255 * np.isin(ID_MAP, list(ids)))


def test_an_image_without_segments():
    mask = class_mask(PanopticResult(np.zeros((3, 4), np.uint16), ()), {0})
    assert mask.shape == (3, 4) and not mask.any()
