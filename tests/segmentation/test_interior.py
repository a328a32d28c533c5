"""Where a mask is deepest, and what it looks like."""

import numpy as np
import pytest

from rmpsam_ros.segmentation.interior import color_histogram, deepest_point


def filled(height, width, *parts):
    mask = np.zeros((height, width), bool)
    for y, x in parts:
        mask[y, x] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "point", "reach"),
    [
        (filled(40, 60, (slice(10, 21), slice(20, 51))), (35, 15), 10),
        (filled(40, 60, (slice(None), slice(None))), (30, 20), 11),
        (filled(40, 60, (7, 9)), (9, 7), 0),
        # a thin bar with a thick end
        (filled(40, 60, (slice(19, 21), slice(0, 60)), (slice(5, 36), slice(0, 31))), (15, 20), 1),
        # large ones are looked at on a coarser grid
        (filled(1000, 1000, (slice(100, 301), slice(500, 701))), (600, 200), 4),
        (filled(1000, 1000, (slice(501, 502), slice(3, 999, 500))), (503, 501), 0),
    ],
)
def test_the_deepest_point(mask, point, reach):
    x, y = deepest_point(mask)
    assert mask[y, x]
    assert abs(x - point[0]) <= reach and abs(y - point[1]) <= max(1, reach // 4)


def test_an_empty_mask_has_none():
    assert deepest_point(np.zeros((10, 10), bool)) is None


def painted(color, size=64):
    return np.full((size, size, 3), color, np.uint8)


def similarity(a, b):
    everywhere = np.ones(a.shape[:2], bool)
    return float(color_histogram(a, everywhere) @ color_histogram(b, np.ones(b.shape[:2], bool)))


def test_colours_tell_things_apart_and_sizes_do_not():
    red, green, grey = painted((200, 40, 40)), painted((40, 200, 40)), painted((128, 128, 128))
    assert similarity(red, red) == pytest.approx(1.0, abs=1e-5)
    assert similarity(red, painted((200, 40, 40), 500)) == pytest.approx(1.0, abs=1e-5)
    assert similarity(red, green) < 0.2 and similarity(red, grey) < 0.5


def test_a_little_more_light_is_a_little_difference():
    values = [
        similarity(painted((120, 60, 60)), painted((120 + d, 60 + d, 60 + d)))
        for d in range(0, 24, 2)
    ]
    assert min(values) > 0.6 and np.abs(np.diff(values)).max() < 0.45


def test_only_the_mask_counts():
    image = painted((200, 40, 40))
    mask = np.zeros((64, 64), bool)
    mask[10:20, 10:20] = True
    before = color_histogram(image, mask)
    image[~mask] = (0, 0, 255)
    np.testing.assert_array_equal(color_histogram(image, mask), before)
    assert not color_histogram(image, np.zeros((64, 64), bool)).any()
    assert np.linalg.norm(before) == pytest.approx(1.0, abs=1e-5)


def test_a_view_of_any_strides_is_taken():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    mask = np.ones((40, 50), bool)
    flipped = np.ascontiguousarray(image[..., ::-1])
    np.testing.assert_array_equal(
        color_histogram(image[..., ::-1], mask), color_histogram(flipped, mask)
    )
