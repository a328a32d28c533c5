"""From a picture to the model's frame and back."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

from rmpsam_ros.model.sam import transforms
from rmpsam_ros.model.sam.transforms import SamFrame, frame_geometry
from rmpsam_ros.segmentation.preprocess import MEAN, STD


@pytest.mark.parametrize(
    ("height", "width", "resized", "checksum"),
    [
        (425, 640, (680, 1024), 0x230F66BD),
        (500, 381, (1024, 780), 0xEE00818B),
        (720, 1280, (576, 1024), 0x96C66584),
        (1080, 1920, (576, 1024), 0xF29E633D),
        (1500, 1500, (1024, 1024), 0xC8E2DC4E),
        (101, 2001, (52, 1024), 0xC5D8D3A7),
        (40, 56, (731, 1024), 0xBE42ABA4),
        (1024, 1024, (1024, 1024), 0xD0687011),
        (1030, 700, (1024, 696), 0x0D4503FB),
    ],
)
def test_resizing_gives_the_bits_of_pillow(
    height: int, width: int, resized: tuple[int, int], checksum: int, frame
) -> None:
    """Checksums of what Pillow 13's bilinear filter makes of the same pictures."""
    assert frame_geometry(height, width) == SamFrame((height, width), resized)
    picture = frame("transforms", height, width)
    out = transforms.resize_bilinear(picture, *resized)
    assert out.shape == (*resized, 3)
    assert zlib.crc32(np.ascontiguousarray(out).tobytes()) == checksum


def test_resizing_keeps_the_darkest_and_the_lightest() -> None:
    picture = np.zeros((31, 47, 3), np.uint8)
    picture[:, 20:] = 255
    out = transforms.resize_bilinear(picture, 100, 150)
    assert (out[:, 0] == 0).all() and (out[:, -1] == 255).all()


def test_preprocessing_normalises_and_fills_with_zero(frame) -> None:
    picture = frame("transforms", 1024, 512)
    before = picture.copy()
    x, geometry = transforms.preprocess(picture)
    assert x.shape == (1, 3, 1024, 1024) and x.dtype == torch.float32
    assert geometry == SamFrame((1024, 512), (1024, 512))
    expected = (picture[100, 200] - np.array(MEAN)) / STD
    np.testing.assert_allclose(x[0, :, 100, 200], expected, rtol=1e-6)
    assert not x[..., 512:].any()
    assert np.array_equal(picture, before)


def test_preprocessing_takes_views(frame) -> None:
    picture = frame("transforms", 60, 80)
    flipped, _ = transforms.preprocess(picture[:, ::-1, ::-1])
    copied, _ = transforms.preprocess(picture[:, ::-1, ::-1].copy())
    assert torch.equal(flipped, copied)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_pictures_of_another_kind_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\] in RGB, got"):
        transforms.preprocess(picture)


@pytest.mark.parametrize(
    ("size", "message"),
    [((0, 5), "at least one pixel"), ((5, 0), "at least one pixel"), ((1, 4000), "too narrow")],
)
def test_sizes_without_a_frame_are_refused(size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame_geometry(*size)


def test_coordinates_are_scaled_by_the_real_ratio_of_each_axis() -> None:
    """381 x 500 becomes 780 x 1024, which is not exactly one factor."""
    geometry = frame_geometry(500, 381)
    points = transforms.points_to_frame(np.array([[381.0, 500.0], [0.0, 0.0]]), geometry)
    assert points.dtype == torch.float32
    assert points.tolist() == [[780.0, 1024.0], [0.0, 0.0]]
    boxes = transforms.boxes_to_frame(np.array([[0.0, 250.0, 190.5, 500.0]]), geometry)
    assert boxes.tolist() == [[0.0, 512.0, 390.0, 1024.0]]


def test_masks_come_back_where_they_were() -> None:
    """A mask in the upper left quarter of the picture, filled frame and rounding included."""
    geometry = frame_geometry(300, 450)
    logits = torch.full((20, 2, 256, 256), -5.0)
    logits[:, 1, : 85 * 2 // 2, :128] = 5.0  # 683 of 1024 rows hold the picture
    masks = transforms.masks_to_picture(logits, geometry)
    assert masks.shape == (20, 2, 300, 450) and masks.dtype == np.bool_
    assert not masks[:, 0].any()
    expected = np.zeros((300, 450), bool)
    expected[:149, :225] = True
    assert (masks[:, 1] != expected).mean() < 0.005


def test_logits_are_interpolated_before_the_threshold() -> None:
    logits = torch.full((1, 1, 256, 256), -1.0)
    logits[..., 128:] = 3.0
    picture = transforms.logits_to_picture(logits, frame_geometry(1024, 1024))[0, 0]
    assert -1 < picture[0, 511] < picture[0, 512] < 3
    # The border moves towards the weaker side, because the logits are linear between the cells.
    assert int((picture[0] > 0).sum()) == 513
