"""Damaged JPEG data, and data that would take minutes to decode."""

import re
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from rmpsam_ros.node.input import jpeg
from rmpsam_ros.node.input.images import ImageError
from rmpsam_ros.node.input.jpeg import decode_jpeg, finds_damage
from rmpsam_ros.node.input.reading import DamagedImageError, read_image

HEIGHT, WIDTH = 240, 320
needs_decoder = pytest.mark.skipif(
    not finds_damage(), reason="needs simplejpeg: nothing else tells damage inside the data"
)


def picture():
    """Shapes and a little noise, as cameras have it."""
    image = np.random.default_rng(0).integers(0, 12, (HEIGHT, WIDTH, 3), np.uint8)
    image[:, :, 1] += np.linspace(0, 200, WIDTH).astype(np.uint8)
    for k in range(12):
        cv2.circle(image, (25 * k, 20 * k), 30, (20 * k, 255 - 20 * k, 90), -1)
    return image


def encode(*options, image=None):
    image = picture() if image is None else image
    _, data = cv2.imencode(".jpg", image, list(options))
    return data.tobytes()


def opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


PLAIN = encode()
PROGRESSIVE = encode(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = encode(cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
SCANS = [match.start() for match in re.finditer(b"\xff\xda", PROGRESSIVE)]


def many_scans(height, width, scans):
    """A progressive JPEG of a size, with almost empty scans."""
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    table = b"\x00" + b"\x01" + bytes(15) + b"\x00"  # one code, of one bit
    first = struct.pack(">BBBBBB", 1, 1, 0, 0, 0, 1)
    again = struct.pack(">BBBBBB", 1, 1, 0, 0, 0, 0x10)
    data = b"\xff\xd8\xff\xc2" + struct.pack(">H", len(frame) + 2) + frame
    data += b"\xff\xc4" + struct.pack(">H", len(table) + 2) + table
    quantization = b"\x00" + bytes([1] * 64)
    data += b"\xff\xdb" + struct.pack(">H", len(quantization) + 2) + quantization
    for k in range(scans):
        data += b"\xff\xda\x00\x08" + (again if k else first) + bytes(40)
    return data + b"\xff\xd9"


def size_in_header(data, height, width):
    position = data.index(b"\xff\xc0") + 5
    return data[:position] + struct.pack(">HH", height, width) + data[position + 4 :]


def message(data):
    return SimpleNamespace(format="jpeg", data=data)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PROGRESSIVE,
        RESTARTS,
        encode(image=picture()[..., 0]),
        encode(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        encode(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
        encode(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    ],
)
def test_good_data_gives_the_pixels_of_opencv(data):
    pixels, damage = decode_jpeg(data)
    assert damage == ""
    np.testing.assert_array_equal(pixels, opencv(data))


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:-2] + bytes(4) + b"\xff\xd9",
        PLAIN + bytes(100),
        RESTARTS.replace(b"\xff\xd0", bytes(3) + b"\xff\xd0", 1),
        PLAIN[:11] + b"\x09" + PLAIN[12:],  # a revision of JFIF that does not exist
    ],
)
def test_what_cameras_do_without_harm_is_no_damage(data):
    pixels, damage = decode_jpeg(data)
    assert damage == ""
    np.testing.assert_array_equal(pixels, opencv(PLAIN if data[:-99] != RESTARTS else RESTARTS))


DAMAGED = {
    "half, with an end": (PLAIN[: len(PLAIN) // 2] + b"\xff\xd9", "premature end"),
    "a packet is missing": (PLAIN[:3000] + PLAIN[4400:], "premature end"),
    "a packet came twice": (PLAIN[:4400] + PLAIN[3000:], "extraneous bytes"),
    "a restart is missing": (RESTARTS.replace(b"\xff\xd3", b"", 1), "extraneous bytes"),
    "larger in the header": (size_in_header(PLAIN, 512, 512), "premature end"),
}


@needs_decoder
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_found_and_refused_or_used(name):
    data, words = DAMAGED[name]
    with pytest.raises(DamagedImageError, match=f"JPEG is damaged: .*({words}).*damaged_images"):
        read_image(message(data))
    used = read_image(message(data), take_damaged=True)
    assert re.search(words, used.damage)
    np.testing.assert_array_equal(used.pixels, opencv(data))


@pytest.mark.parametrize("kept", [1, 4, 9])
def test_missing_scans_are_damage_with_any_decoder(kept, monkeypatch):
    data = PROGRESSIVE[: SCANS[kept]] + b"\xff\xd9"
    for decoder in (jpeg._simplejpeg(), None):
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda decoder=decoder: decoder)
        pixels, damage = decode_jpeg(data)
        assert "scans are missing for" in damage
        assert pixels.shape == (HEIGHT, WIDTH, 3)


def test_without_a_decoder_that_tells_damage_images_are_read_all_the_same(monkeypatch):
    monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    assert not finds_damage()
    for data in (PLAIN, PROGRESSIVE, DAMAGED["a packet is missing"][0]):
        pixels, damage = decode_jpeg(data)
        assert damage == ""
        np.testing.assert_array_equal(pixels, opencv(data))


@needs_decoder
def test_every_lost_packet_is_found():
    random = np.random.default_rng(2)
    starts = random.integers(700, len(PLAIN) - 1402, 100)
    assert all(decode_jpeg(PLAIN[:k] + PLAIN[k + 1400 :])[1] for k in starts)


@needs_decoder
def test_flipped_bits_that_spoil_the_picture_are_found_more_often_than_not():
    """One bit may turn a value into another valid one: that leaves no trace."""
    random, good = np.random.default_rng(3), opencv(PLAIN).astype(int)
    found = spoilt = 0
    for k in random.integers(700, len(PLAIN) - 2, 200):
        data = bytearray(PLAIN)
        data[k] ^= 1 << random.integers(8)
        try:
            pixels, damage = decode_jpeg(bytes(data))
        except ImageError:
            continue
        if (np.abs(pixels - good).max(-1) > 40).mean() > 0.01:
            spoilt += 1
            found += bool(damage)
    assert spoilt > 20
    assert found > 0.5 * spoilt


@pytest.mark.parametrize(
    ("size", "scans", "limit"),
    [((4320, 7680), 1500, 32), ((HEIGHT, WIDTH), 501, 500), ((2160, 3840), 129, 128)],
)
def test_more_scans_than_can_be_decoded_in_time_are_refused_before(
    size, scans, limit, monkeypatch
):
    def decode(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", decode)
    monkeypatch.setattr(jpeg, "_simplejpeg", lambda: SimpleNamespace(decode_jpeg=decode))
    with pytest.raises(ImageError, match=f"more than {limit} scans.*too long to decode"):
        decode_jpeg(many_scans(*size, scans))
    with pytest.raises(AssertionError, match="decoded"):
        decode_jpeg(many_scans(*size, limit))


def test_ten_scans_of_the_largest_image_are_accepted():
    assert jpeg.read_header(many_scans(4320, 7680, 12)).height == 4320
