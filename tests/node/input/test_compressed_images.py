"""Compressed image messages: good ones of every kind, and cut-off, corrupt and hostile ones."""

import struct
import time
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from rmpsam_ros.node.input.compressed_images import decode_compressed
from rmpsam_ros.node.input.images import ImageError

HEIGHT, WIDTH = 40, 60


def picture():
    """Smooth, so that JPEG keeps it, and different in every channel."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 4, y * 6, 255 - x * 4], axis=2).astype(np.uint8)


def encoded(suffix, image=None, parameters=()):
    _, data = cv2.imencode(suffix, picture() if image is None else image, list(parameters))
    return data.tobytes()


def message(data, text="rgb8; jpeg compressed bgr8"):
    return SimpleNamespace(format=text, data=data)


GREY = cv2.cvtColor(picture(), cv2.COLOR_BGR2GRAY)
WITH_ALPHA = cv2.cvtColor(picture(), cv2.COLOR_BGR2BGRA)
GOOD = {
    "jpeg": (encoded(".jpg"), picture(), 12),
    "progressive jpeg": (
        encoded(".jpg", parameters=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        picture(),
        12,
    ),
    "grey jpeg": (encoded(".jpg", GREY), np.repeat(GREY[..., None], 3, 2), 12),
    "jpeg with bytes after its end": (encoded(".jpg") + bytes(100), picture(), 12),
    "png": (encoded(".png"), picture(), 0),
    "grey png": (encoded(".png", GREY), np.repeat(GREY[..., None], 3, 2), 0),
    "png with alpha": (encoded(".png", WITH_ALPHA), picture(), 0),
    "16 bit png": (encoded(".png", picture().astype(np.uint16) * 257), picture(), 0),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_pictures(name):
    data, expected, tolerance = GOOD[name]
    result = decode_compressed(message(data))
    assert result.channel_order == "bgr"
    assert result.pixels.shape == expected.shape
    assert np.abs(result.pixels.astype(int) - expected.astype(int)).max() <= tolerance


def test_what_it_is_is_told_by_the_data_not_by_the_format():
    result = decode_compressed(message(encoded(".png"), "jpeg"))
    np.testing.assert_array_equal(result.pixels, picture())


def test_an_orientation_in_the_file_does_not_turn_the_picture():
    exif = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    jpeg = encoded(".jpg")
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    assert decode_compressed(message(turned)).pixels.shape == (HEIGHT, WIDTH, 3)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(height, width, rows=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def jpeg_of_size(height, width):
    """A small JPEG whose header promises another size."""
    data = bytearray(encoded(".jpg"))
    position = data.index(b"\xff\xc0") + 5
    data[position : position + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def flipped(data, position):
    return data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


BAD = {
    "empty": (b"", "has 0 bytes; expected JPEG or PNG"),
    "text": (b"not a picture", "expected JPEG or PNG"),
    "gif": (b"GIF89a" + bytes(50), "expected JPEG or PNG"),
    "depth of image_transport": (bytes(12) + encoded(".png"), "expected JPEG or PNG"),
    "jpeg, 3 bytes": (b"\xff\xd8\xff", "cut off"),
    "jpeg, only marks": (b"\xff\xd8\xff\xd9", "no size"),
    "jpeg, half": (encoded(".jpg")[: len(encoded(".jpg")) // 2], "JPEG is cut off"),
    "jpeg, last byte missing": (encoded(".jpg")[:-1], "JPEG is cut off"),
    "jpeg, broken markers": (flipped(encoded(".jpg"), 20), "corrupt"),
    "jpeg, segment without length": (
        b"\xff\xd8\xff\xe0\x00\x00" + encoded(".jpg")[2:],
        "no size",
    ),
    "jpeg, 0 high": (jpeg_of_size(0, 60), "60 x 0 pixels"),
    "jpeg bomb": (jpeg_of_size(65000, 65000), "65000 x 65000 pixels; at most"),
    "png, half": (encoded(".png")[: len(encoded(".png")) // 2], "PNG is cut off"),
    "png, end missing": (encoded(".png")[:-12], "PNG is cut off"),
    "png, only a signature": (b"\x89PNG\r\n\x1a\n", "PNG is cut off"),
    "png, flipped header": (flipped(encoded(".png"), 18), "wrong checksum of its b'IHDR'"),
    "png, flipped pixels": (flipped(encoded(".png"), 200), "wrong checksum of its b'IDAT'"),
    "png, without header": (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""),
        "starts with a b'IEND'",
    ),
    "png, no rows": (png(0, 0), "0 x 0 pixels"),
    "png, too few pixels": (png(100, 100, bytes(50)), "corrupt"),
    "png bomb": (png(2**31 - 1, 2**31 - 1), "2147483647 x 2147483647 pixels; at most"),
    "png bomb of zeros": (png(30000, 30000, bytes(10_000_000)), "30000 x 30000 pixels; at most"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_refused_with_a_reason(name):
    data, reason = BAD[name]
    with pytest.raises(ImageError, match=reason):
        decode_compressed(message(data))


def test_a_bomb_is_refused_before_anything_is_allocated():
    bomb = message(png(30000, 30000, bytes(10_000_000)))
    started = time.process_time()
    with pytest.raises(ImageError):
        decode_compressed(bomb)
    assert time.process_time() - started < 0.2


def test_random_damage_never_raises_anything_else():
    random = np.random.default_rng(1)
    for suffix in (".jpg", ".png"):
        data = np.frombuffer(encoded(suffix), np.uint8)
        for _ in range(100):
            damaged = data.copy()
            damaged[random.integers(0, len(data), 3)] = random.integers(0, 256, 3)
            try:
                result = decode_compressed(message(damaged.tobytes()))
            except ImageError:
                continue
            assert result.pixels.ndim == 3
