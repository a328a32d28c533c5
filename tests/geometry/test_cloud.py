"""Labelled points: place, colour, class and instance of every kept pixel."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.geometry import (
    PLACE,
    POINT,
    CameraModel,
    DepthImage,
    labelled_points,
    pixel_points,
)

HEIGHT, WIDTH = 11, 17
CAMERA = CameraModel(HEIGHT, WIDTH, 10.0, 12.0, 8.0, 5.0)


@pytest.fixture
def frame():
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    classes = rng.integers(0, 255, (HEIGHT, WIDTH)).astype(np.uint8)
    instances = rng.integers(0, 65535, (HEIGHT, WIDTH)).astype(np.uint16)
    depth = rng.integers(500, 5000, (HEIGHT, WIDTH)).astype(np.uint16)
    depth[rng.random((HEIGHT, WIDTH)) < 0.3] = 0
    return pixels, classes, instances, depth


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("stride", [1, 2, 3, 5, 64])
def test_every_kept_pixel_is_a_point(frame, order, stride):
    pixels, classes, instances, depth = frame
    points = labelled_points(pixels, order, classes, instances, DepthImage(depth), CAMERA, stride)
    expected = []
    for row in range(min(stride // 2, HEIGHT - 1), HEIGHT, stride):
        for column in range(min(stride // 2, WIDTH - 1), WIDTH, stride):
            z = depth[row, column] / 1000.0
            if z == 0.0:
                continue
            red, green, blue = (
                int(one) for one in pixels[row, column][:: 1 if order == "rgb" else -1]
            )
            expected.append(
                (
                    (column - 8.0) / 10.0 * z,
                    (row - 5.0) / 12.0 * z,
                    z,
                    red << 16 | green << 8 | blue,
                    classes[row, column],
                    instances[row, column],
                )
            )
    assert points.dtype == POINT and len(points) == len(expected)
    for name, values in zip(POINT.names, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(points[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_points_are_packed():
    assert POINT.itemsize == 20
    assert [POINT.fields[name][1] for name in POINT.names] == [0, 4, 8, 12, 16, 18]


def test_without_depth_there_are_no_points(frame):
    pixels, classes, instances, depth = frame
    depth[:] = 0
    points = labelled_points(pixels, "rgb", classes, instances, DepthImage(depth), CAMERA, 1)
    assert points.shape == (0,)


def test_classes_of_16_bits(frame):
    pixels, classes, instances, depth = frame
    wide = classes.astype(np.uint16) + 60000
    points = labelled_points(pixels, "rgb", wide, instances, DepthImage(depth), CAMERA, 1)
    assert points["class_id"].min() >= 60000


def test_depth_of_another_size(frame):
    pixels, classes, instances, _ = frame
    depth = DepthImage(np.full((2 * HEIGHT, 2 * WIDTH), 1.5, np.float32))
    points = labelled_points(pixels, "rgb", classes, instances, depth, CAMERA, 1)
    assert len(points) == HEIGHT * WIDTH
    assert (points["z"] == 1.5).all()


LENS = CameraModel(
    HEIGHT, WIDTH, 10.0, 12.0, 8.0, 5.0, "plumb_bob", (-0.6, 0.1, 0.0, 0.0, 0.0)
)  # some of its corners cannot be undone


@pytest.mark.parametrize("camera", [CAMERA, LENS], ids=["pinhole", "lens"])
@pytest.mark.parametrize("stride", [1, 3])
def test_points_of_all_pixels_are_those_of_the_labelled_cloud(frame, camera, stride):
    pixels, classes, instances, depth = frame
    every = pixel_points(DepthImage(depth), camera, HEIGHT, WIDTH)
    assert every.dtype == PLACE and every.shape == (HEIGHT, WIDTH)
    compact = labelled_points(pixels, "rgb", classes, instances, DepthImage(depth), camera, stride)
    known = np.isfinite(every["z"])
    assert (depth[known] > 0).all() and 0 < known.sum() < known.size
    first = stride // 2
    kept = every[first::stride, first::stride]
    kept = kept[np.isfinite(kept["z"])]
    for name in PLACE.names:
        assert (np.isfinite(every[name]) == known).all()
        np.testing.assert_array_equal(kept[name], compact[name])


def test_points_of_all_pixels_at_depth_of_another_size():
    depth = DepthImage(np.full((2 * HEIGHT, 2 * WIDTH), 1.5, np.float32))
    every = pixel_points(depth, CAMERA, HEIGHT, WIDTH)
    assert every.shape == (HEIGHT, WIDTH)
    assert (every["z"] == 1.5).all()
