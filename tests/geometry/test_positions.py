"""Places and sizes of things in scenes whose answer is known, and on one real frame."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from rmpsam_ros.geometry import CameraModel, DepthImage, camera_model, locate
from rmpsam_ros.segmentation.run_length import encode_mask

ARC2017 = Path(__file__).resolve().parents[1] / "goldens" / "geometry" / "arc2017"
CAMERA = CameraModel(480, 640, 500.0, 500.0, 319.5, 239.5)


class Scene:
    """A wall at 4 m, and things in front of it, seen by a camera."""

    def __init__(self, camera=CAMERA):
        self.camera = camera
        rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
        self.x, self.y = camera.rays(rows, columns).astype(np.float64)
        self.z = np.full((camera.height, camera.width), 4.0)
        self.owner = np.zeros(self.z.shape, int)

    def put(self, number, z):
        """Things are where their z, NaN beside them, is in front of what there was."""
        seen = z < self.z
        self.z[seen], self.owner[seen] = z[seen], number

    def plate(self, number, center, width, height):
        """A plate that faces the camera."""
        z = center[2]
        inside = np.abs(self.x * z - center[0]) <= width / 2
        inside &= np.abs(self.y * z - center[1]) <= height / 2
        self.put(number, np.where(inside, z, np.nan))

    def sphere(self, number, center, radius):
        rays = np.stack([self.x, self.y, np.ones_like(self.x)])
        middle = np.array(center)
        a, b = (rays**2).sum(axis=0), np.einsum("i,ihw->hw", middle, rays)
        with np.errstate(invalid="ignore"):
            self.put(number, (b - np.sqrt(b**2 - a * (middle @ middle - radius**2))) / a)

    def mask(self, number):
        return encode_mask(self.owner == number)

    def locate(self, number, dtype=np.float32):
        scaled = np.round(1000.0 * self.z) if dtype == np.uint16 else self.z
        return locate(self.mask(number), DepthImage(scaled.astype(dtype)), self.camera)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize(
    ("center", "size"),
    [
        ((0.0, 0.0, 1.0), (0.4, 0.3)),
        ((-0.5, 0.3, 2.0), (0.2, 0.8)),
        ((1.0, -0.8, 3.5), (1.0, 0.5)),
        ((0.01, 0.0, 0.3), (0.05, 0.05)),
    ],
)
def test_a_plate_is_where_it_is(dtype, center, size):
    scene = Scene()
    scene.plate(1, center, *size)
    found = scene.locate(1, dtype)
    pixel = center[2] / 500.0
    np.testing.assert_allclose(found.position, center, atol=0.03 * max(size) + pixel)
    np.testing.assert_allclose(found.box_center, center, atol=pixel + 0.001)
    np.testing.assert_allclose(found.box_size[:2], size, rtol=0.04, atol=2 * pixel)
    assert found.box_size[2] < 0.002
    assert found.coverage == 1.0


def test_the_covariance_is_the_spread_of_the_points():
    scene = Scene()
    scene.plate(1, (0.2, -0.1, 2.0), 0.6, 0.3)
    covariance = scene.locate(1).covariance
    assert covariance.shape == (3, 3)
    np.testing.assert_allclose(covariance, covariance.T)
    np.testing.assert_allclose(np.diag(covariance), [0.03, 0.0075, 0.0], rtol=0.1, atol=1e-4)


def test_the_front_of_a_sphere():
    scene = Scene()
    scene.sphere(1, (0.3, 0.2, 2.0), 0.25)
    found = scene.locate(1)
    np.testing.assert_allclose(found.position[:2], [0.3, 0.2], atol=0.03)
    assert 1.75 < found.position[2] < 1.9
    visible = 2 * 0.2436  # across, as far as rays touch it
    np.testing.assert_allclose(found.box_size[:2], visible, rtol=0.08)
    assert 0.15 < found.box_size[2] < 0.26


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_a_distorted_camera_sees_it_in_the_same_place(model):
    coefficients = (-0.2, 0.05, 0.001, 0.0) if model == "plumb_bob" else (-0.02, 0.01, 0.0, 0.0)
    camera = CameraModel(480, 640, 400.0, 400.0, 319.5, 239.5, model, coefficients)
    scene = Scene(camera)
    scene.plate(1, (1.0, 0.6, 2.0), 0.3, 0.3)
    np.testing.assert_allclose(scene.locate(1).box_center, (1.0, 0.6, 2.0), atol=0.006)
    ignored = CameraModel(480, 640, 400.0, 400.0, 319.5, 239.5)
    wrong = locate(scene.mask(1), DepthImage(scene.z.astype(np.float32)), ignored)
    assert np.abs(wrong.box_center - (1.0, 0.6, 2.0)).max() > 0.02


@pytest.mark.parametrize("share", [0.1, 0.3, 0.4])
def test_background_in_the_mask_is_left_out(share):
    """A mask that is too wide: the wall behind shows through."""
    scene = Scene()
    scene.plate(1, (0.0, 0.0, 1.0), 0.4, 0.4)
    mask = scene.owner == 1
    columns = np.flatnonzero(mask.any(axis=0))
    extra = round(len(columns) * share / (1 - share))
    mask[mask.any(axis=1), columns[-1] : columns[-1] + extra] = True
    found = locate(encode_mask(mask), DepthImage(scene.z.astype(np.float32)), CAMERA)
    np.testing.assert_allclose(found.position, (0.0, 0.0, 1.0), atol=0.02)
    np.testing.assert_allclose(found.box_size[:2], 0.4, rtol=0.04)
    assert found.coverage == pytest.approx(1 - share, abs=0.05)


def test_noise_and_holes_move_nothing_far():
    rng = np.random.default_rng(1)
    scene = Scene()
    scene.plate(1, (-0.4, 0.2, 2.0), 0.5, 0.5)
    scene.z += rng.normal(0.0, 0.02, scene.z.shape)
    scene.z[rng.random(scene.z.shape) < 0.5] = np.nan
    scene.z[rng.random(scene.z.shape) < 0.02] = 0.3  # flying pixels
    found = scene.locate(1)
    np.testing.assert_allclose(found.position, (-0.4, 0.2, 2.0), atol=0.02)
    np.testing.assert_allclose(found.box_size[:2], 0.5, rtol=0.06)
    assert found.coverage == pytest.approx(0.49, abs=0.06)


def test_a_slanted_plate_is_not_cut():
    """A table seen from above: depth runs from 1 m to 2 m over its mask."""
    scene = Scene()
    # The plane y = 0.5 (below the camera), z from 1 to 2, x from -0.5 to 0.5.
    with np.errstate(divide="ignore"):
        z = np.where(scene.y > 0, 0.5 / scene.y, np.nan)
    scene.put(1, np.where((z >= 1.0) & (z <= 2.0) & (np.abs(scene.x * z) <= 0.5), z, np.nan))
    found = scene.locate(1)
    np.testing.assert_allclose(found.box_size, (1.0, 0.0, 1.0), atol=0.06)
    np.testing.assert_allclose(found.box_center, (0.0, 0.5, 1.5), atol=0.03)
    assert found.coverage > 0.97


def test_depth_of_half_the_size():
    scene = Scene()
    scene.plate(1, (0.1, 0.1, 1.0), 0.3, 0.3)
    half = DepthImage(np.ascontiguousarray(scene.z[::2, ::2], np.float32))
    half.check_fits(480, 640)
    found = locate(scene.mask(1), half, CAMERA)
    np.testing.assert_allclose(found.box_center, (0.1, 0.1, 1.0), atol=0.004)


@pytest.mark.parametrize("unknown", [np.nan, 0.0, np.inf, -1.0])
def test_without_depth_there_is_no_position(unknown):
    scene = Scene()
    scene.plate(1, (0.0, 0.0, 1.0), 0.3, 0.3)
    scene.z[scene.owner == 1] = unknown
    assert scene.locate(1) is None


def test_few_pixels_give_no_position():
    depth = DepthImage(np.ones((480, 640), np.float32))
    mask = np.zeros((480, 640), np.bool_)
    assert locate(encode_mask(mask), depth, CAMERA) is None
    mask[100, 100:107] = True
    assert locate(encode_mask(mask), depth, CAMERA) is None
    mask[101, 100:107] = True
    assert locate(encode_mask(mask), depth, CAMERA) is not None


def test_a_pixel_without_a_ray_does_not_count():
    camera = CameraModel(480, 640, 200.0, 200.0, 320.0, 240.0, "plumb_bob", (-0.5, 0.0, 0.0, 0.0))
    mask = np.zeros((480, 640), np.bool_)
    mask[:20, :20] = True
    assert locate(encode_mask(mask), DepthImage(np.ones((480, 640), np.float32)), camera) is None


def test_objects_of_a_real_frame():
    """A tote of objects 0.4 to 0.7 m before the camera: places that a person can check."""
    fields = yaml.safe_load((ARC2017 / "camera_info.yaml").read_text())
    region = SimpleNamespace(**fields["roi"])
    info = SimpleNamespace(
        **{name.lower(): value for name, value in fields.items() if name != "roi"}, roi=region
    )
    camera = camera_model(info)
    depth = DepthImage(cv2.imread(str(ARC2017 / "depth.png"), cv2.IMREAD_UNCHANGED))
    instances = cv2.imread(str(ARC2017 / "instances.png"), cv2.IMREAD_UNCHANGED)
    for number in range(1, 9):
        mask = encode_mask(instances == number)
        found = locate(mask, depth, camera)
        assert found is not None and found.coverage > 0.3
        assert 0.45 < found.position[2] < 0.7
        # The middle of what is visible is seen inside the mask's box.
        column = camera.fx * found.position[0] / found.position[2] + camera.cx
        row = camera.fy * found.position[1] / found.position[2] + camera.cy
        assert mask.box[0] < column < mask.box[2] and mask.box[1] < row < mask.box[3]
        # Nothing in the tote is larger than 35 cm or flatter than a pixel.
        assert (found.box_size[:2] > 0.01).all() and (found.box_size < 0.35).all()
