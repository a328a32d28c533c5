"""Whatever comes as an image: it is read, or refused with ImageError."""

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="requirements/test-fuzz.txt")

from hypothesis import given
from hypothesis import strategies as some

from rmpsam_ros.node.input.images import ENCODINGS, ImageError, decode_image
from rmpsam_ros.node.input.reading import read_image


def encoded(suffix, *options):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    image[10:30, 10:40] = (200, 30, 60)
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


SEEDS = (
    encoded(".jpg"),
    encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    encoded(".png"),
)
bytes_of_any_kind = some.binary(max_size=200)
size = some.one_of(some.integers(0, 70), some.integers(0, 2**32 - 1))


@some.composite
def damaged(draw):
    """One of the seeds with pieces changed, lost, repeated or put in."""
    data = bytearray(draw(some.sampled_from(SEEDS)))
    for _ in range(draw(some.integers(1, 6))):
        place = draw(some.integers(0, max(0, len(data) - 1)))
        end = min(len(data), place + draw(some.integers(1, 60)))
        change = draw(some.sampled_from(("flip", "cut", "repeat", "put", "size")))
        if change == "flip" and data:
            data[place] ^= 1 << draw(some.integers(0, 7))
        elif change == "cut":
            del data[place:end]
        elif change == "repeat":
            data[place:place] = data[place:end]
        elif change == "put":
            data[place:place] = draw(some.binary(max_size=30))
        elif len(data) > 170:
            struct.pack_into(">HH", data, place % 168, draw(some.integers(0, 65535)) & 0xFFFF, 64)
    return bytes(data)


@given(some.one_of(damaged(), bytes_of_any_kind), some.booleans())
def test_compressed_data(data, take_damaged):
    try:
        image = read_image(SimpleNamespace(format="jpeg", data=data), take_damaged)
    except ImageError as error:
        assert str(error)
        return
    height, width = image.pixels.shape[:2]
    assert image.pixels.dtype == np.uint8 and image.pixels.shape == (height, width, 3)
    assert not image.damage or take_damaged


@some.composite
def raw(draw):
    """An image message whose fields may or may not fit together."""
    encoding = draw(some.sampled_from((*ENCODINGS, "", "rgb16", "32FC1", "RGB8", "x\n")))
    height, width = draw(size), draw(size)
    fitting = draw(some.booleans())
    if fitting:
        height, width = height % 40, width % 40
    per_pixel = draw(some.integers(0, 4))
    step = width * per_pixel + draw(some.integers(-3, 9)) if fitting else draw(size)
    length = min(max(0, height * max(step, 0)), 20_000) if fitting else draw(some.integers(0, 500))
    length = max(0, length + draw(some.integers(-2, 2)))
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=max(step, 0),
        is_bigendian=draw(some.integers(0, 255)),
        data=bytes(length),
    )


@given(raw(), some.integers(1, 65535))
def test_raw_messages(message, white):
    try:
        image = decode_image(message, white)
    except ImageError as error:
        assert str(error)
        return
    assert image.pixels.shape == (message.height, message.width, 3)
    assert image.pixels.dtype == np.uint8
    image.pixels.sum()  # every byte can be read
