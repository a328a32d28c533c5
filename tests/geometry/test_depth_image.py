"""Depth at pixels of the colour image: units, unknown values, other sizes."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.geometry import DepthImage, GeometryError


def test_millimetres_and_unknown_values():
    depth = DepthImage(np.array([[0, 1, 1500, 65534, 65535]], np.uint16))
    metres = depth.at(np.zeros(5, int), np.arange(5), 1, 5)
    assert metres.dtype == np.float32
    np.testing.assert_allclose(metres, [np.nan, 0.001, 1.5, 65.534, np.nan], rtol=1e-6)


def test_metres_and_unknown_values():
    values = np.array([[np.nan, np.inf, -np.inf, 0.0, -1.0, 0.25, 300.0]], np.float32)
    metres = DepthImage(values).at(np.zeros(7, int), np.arange(7), 1, 7)
    np.testing.assert_array_equal(metres, [np.nan] * 5 + [0.25, 300.0])
    assert np.isnan(values[0, 0])  # the message's own buffer is not written to
    assert values[0, 3] == 0.0


@pytest.mark.parametrize("size", [(6, 8), (3, 4), (12, 16), (9, 12)])
def test_other_sizes_of_the_same_view(size):
    """A picture of columns 0 to 7 shows the same at every resolution."""
    height, width = size
    values = np.tile((np.arange(width) * 8 // width + 1).astype(np.float32), (height, 1))
    depth = DepthImage(values)
    depth.check_fits(6, 8)
    rows, columns = np.mgrid[0:6, 0:8]
    metres = depth.at(rows, columns, 6, 8)
    if width >= 8:
        np.testing.assert_array_equal(metres, columns + 1)
    else:
        np.testing.assert_array_equal(metres, columns // 2 * 2 + 1)


@pytest.mark.parametrize("size", [(480, 848), (6, 9), (8, 6), (1, 1)])
def test_another_field_of_view_is_refused(size):
    depth = DepthImage(np.ones(size, np.uint16))
    with pytest.raises(GeometryError, match="not the same field of view"):
        depth.check_fits(480, 640)


@pytest.mark.parametrize(
    "values",
    [np.ones((2, 3), np.float64), np.ones((2, 3), np.uint8), np.ones((2, 3, 1), np.uint16)],
)
def test_other_types_are_refused(values):
    with pytest.raises(GeometryError, match="expected"):
        DepthImage(values)
