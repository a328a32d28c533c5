"""Rays of pixels: with and without distortion, binned, cropped, rectified; what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from rmpsam_ros.geometry import CameraModel, GeometryError, camera_model

PLAIN = CameraModel(48, 64, 50.0, 40.0, 31.5, 23.5)


def info(**changes):
    """What a calibrated 64 x 48 camera publishes."""
    fields = {
        "height": 48,
        "width": 64,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [50.0, 0.0, 31.5, 0.0, 40.0, 23.5, 0.0, 0.0, 1.0],
        "p": [45.0, 0.0, 30.0, 0.0, 0.0, 45.0, 22.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return SimpleNamespace(**{**fields, **changes})


def test_rays_of_a_pinhole():
    rays = PLAIN.rays(np.array([0, 24]), np.array([63, 32]))
    assert rays.dtype == np.float32
    np.testing.assert_allclose(rays, [[31.5 / 50.0, 0.5 / 50.0], [-23.5 / 40.0, 0.5 / 40.0]])


def test_rows_and_columns_broadcast():
    rows, columns = np.arange(0, 48, 7)[:, None], np.arange(0, 64, 5)[None]
    for camera in (PLAIN, CameraModel(48, 64, 50.0, 40.0, 31.5, 23.5, "plumb_bob", (0.1,) * 4)):
        rays = camera.rays(rows, columns)
        assert rays.shape == (2, 7, 13)
        one = camera.rays(np.array([14]), np.array([25]))
        np.testing.assert_array_equal(rays[:, 2, 5], one[:, 0])


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", (-0.28, 0.07, 0.001, -0.002, 0.01)),
        ("plumb_bob", (-0.28, 0.07, 0.001, -0.002)),
        ("rational_polynomial", (0.4, -0.2, 0.0005, 0.0003, -0.01, 0.6, -0.15, -0.03)),
        ("equidistant", (-0.02, 0.01, -0.005, 0.001)),
    ],
)
def test_distortion_is_undone(model, coefficients):
    """Points that the camera model puts on pixels are found again on the rays of these pixels."""
    camera = CameraModel(480, 640, 420.0, 425.0, 321.0, 236.0, model, coefficients)
    rows, columns = np.mgrid[0:480:20, 0:640:20]
    rays = camera.rays(rows, columns)
    assert np.isfinite(rays).all()
    points = np.concatenate([rays, np.ones_like(rays[:1])]).reshape(3, -1).T.astype(np.float64)
    matrix = np.array([[420.0, 0, 321.0], [0, 425.0, 236.0], [0, 0, 1]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    pixels, _ = project(points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(coefficients))
    expected = np.stack([columns.ravel(), rows.ravel()], axis=1)
    np.testing.assert_allclose(pixels.reshape(-1, 2), expected, atol=0.05)
    straight = CameraModel(480, 640, 420.0, 425.0, 321.0, 236.0).rays(rows, columns)
    assert np.abs(straight - rays).max() > 0.01  # the distortion is not a trifle


def test_where_a_distortion_cannot_be_undone_there_is_no_ray():
    camera = CameraModel(480, 640, 200.0, 200.0, 320.0, 240.0, "plumb_bob", (-0.5, 0.0, 0.0, 0.0))
    rays = camera.rays(np.array([240, 0]), np.array([320, 0]))
    np.testing.assert_allclose(rays[:, 0], 0.0, atol=1e-6)
    assert np.isnan(rays[:, 1]).all()


def test_what_is_seen_far_aside_has_no_ray():
    camera = CameraModel(
        480, 640, 250.0, 250.0, 319.5, 239.5, "equidistant", (0.0, 0.0, 0.0, 1e-9)
    )
    ray = camera.rays(np.array([240]), np.array([0]))  # 73 degrees
    assert ray[0, 0] == pytest.approx(-np.tan(319.5 / 250.0), abs=0.01)
    wide = CameraModel(480, 640, 200.0, 200.0, 319.5, 239.5, "equidistant", (0.0, 0.0, 0.0, 1e-9))
    assert np.isnan(wide.rays(np.array([240]), np.array([0]))).all()  # 91 degrees


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (480, 1)])
def test_images_of_any_size_have_rays(size):
    height, width = size
    camera = CameraModel(
        height, width, 500.0, 500.0, 0.0, 0.0, "plumb_bob", (-0.1, 0.02, 0.0, 0.0)
    )
    rays = camera.rays(np.arange(height)[:, None], np.arange(width)[None])
    assert rays.shape == (2, height, width)
    assert np.isfinite(rays).all()
    assert rays[0, 0, 0] == rays[1, 0, 0] == 0.0


def test_calibration_is_read():
    assert camera_model(info()) == PLAIN
    distorted = camera_model(info(d=[0.1, 0.0, 0.0, 0.0, 0.0]))
    assert distorted.distortion_model == "plumb_bob" and distorted.distortion[0] == 0.1


def test_rectified_images_are_described_by_p():
    camera = camera_model(info(d=[0.1, 0.0, 0.0, 0.0, 0.0]), rectified=True)
    assert camera == CameraModel(48, 64, 45.0, 45.0, 30.0, 22.0)


def test_a_region_of_interest_moves_the_principal_point():
    region = SimpleNamespace(x_offset=10, y_offset=4, width=32, height=16)
    assert camera_model(info(roi=region)) == CameraModel(16, 32, 50.0, 40.0, 21.5, 19.5)


def test_binning_leaves_rays_where_they_are():
    camera = camera_model(info(binning_x=2, binning_y=2))
    assert (camera.height, camera.width) == (24, 32)
    binned = camera.rays(np.array([10]), np.array([20]))
    # The centre of a binned pixel is the middle of four.
    four = PLAIN.rays(np.array([20, 20, 21, 21]), np.array([40, 41, 40, 41]))
    np.testing.assert_allclose(binned[:, 0], four.mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"k": [-50.0, 0.0, 31.5, 0.0, 40.0, 23.5, 0.0, 0.0, 1.0]}, "not calibrated"),
        ({"k": [float("nan"), 0.0, 31.5, 0.0, 40.0, 23.5, 0.0, 0.0, 1.0]}, "not finite"),
        ({"k": [50.0, 0.0, 31.5, 0.0, 40.0, 23.5, 0.0, 0.0, 2.0]}, "no camera matrix"),
        ({"k": [50.0, 0.0, 31.5, 9.0, 40.0, 23.5, 0.0, 0.0, 1.0]}, "no camera matrix"),
        ({"height": 0}, "64 x 0"),
        ({"distortion_model": "mystery", "d": [0.1] * 5}, "'mystery' is not supported"),
        ({"distortion_model": "", "d": [0.1] * 5}, "no distortion_model"),
        ({"d": [0.1] * 3}, "3 coefficients; expected 4 or 5"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "5 coefficients; expected 4"),
        ({"d": [float("inf")] * 5}, "not finite"),
    ],
)
def test_what_is_refused(changes, words):
    with pytest.raises(GeometryError, match=words):
        camera_model(info(**changes))


def test_zero_coefficients_need_no_model():
    assert camera_model(info(distortion_model="mystery")) == PLAIN
    assert camera_model(info(distortion_model="", d=[])) == PLAIN


def test_another_image_size_is_refused():
    PLAIN.check_size(48, 64)
    with pytest.raises(GeometryError, match="64 x 48 pixels, the image has 32 x 24"):
        PLAIN.check_size(24, 32)
