"""Resize, normalise, pad: against official output, and against misuse."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rmpsam_ros.segmentation.preprocess import MEAN, STD, Letterbox, fit, preprocess, resized_size


def test_official_size_table(resize_rows):
    assert len(resize_rows) > 20
    for row in resize_rows:
        geometry = fit(tuple(row["ori"]), tuple(row["scale"]))
        assert geometry.image_size == tuple(row["ori"])
        assert geometry.resized_size == tuple(row["resized"]), row
        assert geometry.padded_size == tuple(row["padded"]), row


@pytest.mark.parametrize(
    "image_size, limits, expected",
    [
        ((1080, 1920), (640, 480), (360, 640)),
        ((480, 640), (640, 480), (480, 640)),
        ((640, 480), (640, 480), (640, 480)),
        ((100, 100), (640, 480), (480, 480)),
        ((1, 5000), (640, 480), (1, 640)),  # never 0
        ((1, 1), (64, 64), (64, 64)),
    ],
)
def test_resized_size(image_size, limits, expected):
    assert resized_size(image_size, limits) == expected


@pytest.mark.parametrize(
    "image_size, limits", [((0, 5), (64, 64)), ((5, 5), (0, 0)), ((5, 5), (64, 128))]
)
def test_resized_size_refuses(image_size, limits):
    with pytest.raises(ValueError):
        resized_size(image_size, limits)


@pytest.mark.parametrize("name, step", [("down", 3), ("up", 8)])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_official_input(golden, cases, name, step, order):
    arrays, facts = golden("preprocess"), cases["preprocess"][name]
    image = arrays["image_rgb"] if order == "rgb" else arrays["image_rgb"][..., ::-1]
    planes, geometry = preprocess(image, tuple(facts["scale"]), order)
    assert geometry.resized_size == tuple(facts["img_shape"])
    assert planes.shape == (1, 3, *facts["batch_input_shape"]) and planes.dtype == np.float32
    assert np.abs(planes[:, :, ::step, ::step] - arrays[f"{name}.input"]).max() < 1e-6


def test_official_input_without_resize(golden):
    arrays = golden("panoptic_e2e_r50")
    planes, geometry = preprocess(arrays["image_rgb"], (180, 120))
    assert geometry == Letterbox((120, 180), (120, 180), (128, 192))
    assert np.abs(planes[:, :, ::8, ::8] - arrays["input"]).max() < 1e-6


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    "size",
    [
        *((1, 1), (33, 500), (500, 33), (480, 640), (97, 101)),
        # Whole ratios, of which the odd ones need no arithmetic, and nearly whole ones.
        *((120, 160), (240, 320), (360, 480), (600, 800), (840, 1120), (1, 480), (361, 480)),
    ],
)
def test_equals_plain_numpy(size, order):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    planes, geometry = preprocess(image, (160, 120), order)
    height, width = geometry.resized_size
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    pixels = (pixels if order == "rgb" else pixels[..., ::-1]).astype(np.float32)
    expected = np.zeros((3, *geometry.padded_size), np.float32)
    expected[:, :height, :width] = ((pixels - MEAN) / STD).transpose(2, 0, 1)
    assert all(side % 32 == 0 for side in geometry.padded_size)
    np.testing.assert_array_equal(planes[0], expected)


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[::-1],
        lambda image: image[:, ::2],
        lambda image: np.asfortranarray(image),
        lambda image: np.concatenate([image, image], axis=2)[..., 1:4],
    ],
)
def test_takes_any_strides(view):
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    for limits in [(96, 64), view(image).shape[1::-1], (20, 15)]:
        limits = max(limits), min(limits)
        planes, _ = preprocess(view(image), limits)
        expected, _ = preprocess(view(image).copy(), limits)
        np.testing.assert_array_equal(planes, expected)


def test_every_value_of_every_channel_is_what_the_formula_gives():
    values = np.arange(256, dtype=np.uint8)
    image = np.stack([values, values[::-1], np.roll(values, 100)], axis=-1)[None]
    planes, geometry = preprocess(image, (256, 1))
    assert geometry.resized_size == (1, 256)
    expected = (image[0].astype(np.float32) - MEAN) / STD
    np.testing.assert_array_equal(planes[0, :, 0].T, expected)
    assert not planes[:, :, 1:].any()


GOOD = np.zeros((4, 4, 3), np.uint8)
BAD = [
    (GOOD.astype(np.float32), "rgb", "uint8.*float32"),
    (GOOD.astype(np.int8), "rgb", "uint8.*int8"),
    (GOOD.tolist(), "rgb", "uint8.*list"),
    (None, "rgb", "uint8"),
    (GOOD[..., 0], "rgb", r"\(4, 4\)"),
    (GOOD[..., :1], "rgb", r"\(4, 4, 1\)"),
    (np.zeros((4, 4, 4), np.uint8), "rgb", r"\(4, 4, 4\)"),
    (GOOD[:0], "rgb", r"\(0, 4, 3\)"),
    (GOOD[None], "rgb", r"\(1, 4, 4, 3\)"),
    (GOOD, "rgba", "channel_order"),
    (np.zeros((1, 20000, 3), np.uint8), "rgb", "16384"),
]


@pytest.mark.parametrize("image, order, message", BAD)
def test_refuses(image, order, message):
    with pytest.raises(ValueError, match=message):
        preprocess(image, (64, 64), order)


@pytest.mark.parametrize(
    "sizes, message",
    [
        (((0, 5), (5, 5), (32, 32)), "image_size"),
        (((5, 5), (33, 5), (32, 32)), "does not fit"),
        (((5, 5), (5, 5), (32, 99999)), "padded_size"),
        (((5, 5, 3), (5, 5), (32, 32)), "image_size"),
    ],
)
def test_geometry_refuses(sizes, message):
    with pytest.raises(ValueError, match=message):
        Letterbox(*sizes)
