"""Raw image messages: every encoding against pixels known beforehand, and everything malformed."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from rmpsam_ros.node.input import images
from rmpsam_ros.node.input.images import ENCODINGS, MAX_SIDE, ImageError, decode_image
from rmpsam_ros.node.input.reading import darkness

HEIGHT, WIDTH = 6, 8


def message(encoding, rows, step=None, height=HEIGHT, width=WIDTH, big_endian=False, data=None):
    """A message around rows (R, bytes), each padded with 0xEE up to step."""
    rows = np.ascontiguousarray(rows).view(np.uint8)
    step = rows.shape[1] if step is None else step
    padded = np.full((len(rows), max(step, rows.shape[1])), 0xEE, np.uint8)
    padded[:, : rows.shape[1]] = rows
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=int(big_endian),
        data=padded.tobytes() if data is None else data,
    )


@pytest.fixture
def rgb():
    """Smooth colours: 4:2:0 and 4:2:2 and Bayer lose nothing that matters."""
    colors = np.array([[200, 40, 90], [30, 180, 60]], np.uint8)  # left and right half
    image = np.repeat(colors, WIDTH // 2, axis=0)
    return np.repeat(image[None], HEIGHT, axis=0)


def to_rgb(picture):
    return picture.pixels if picture.channel_order == "rgb" else picture.pixels[..., ::-1]


PACKED = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0]}
WITH_ALPHA = {"rgba8": [0, 1, 2], "bgra8": [2, 1, 0]}
PADDING = [0, 1, 37]


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("encoding", PACKED)
def test_packed_colours_are_a_view_of_the_message(encoding, padding):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    stored = pixels[..., PACKED[encoding]].reshape(HEIGHT, -1)
    image = message(encoding, stored, step=WIDTH * 3 + padding)
    picture = decode_image(image)
    np.testing.assert_array_equal(to_rgb(picture), pixels)
    assert np.shares_memory(picture.pixels, np.frombuffer(image.data, np.uint8))


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("encoding", WITH_ALPHA)
def test_alpha_is_dropped(encoding, padding):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    stored = pixels[..., [*WITH_ALPHA[encoding], 3]].reshape(HEIGHT, -1)
    picture = decode_image(message(encoding, stored, step=WIDTH * 4 + padding))
    np.testing.assert_array_equal(to_rgb(picture), pixels[..., :3])


@pytest.mark.parametrize("padding", PADDING)
def test_mono8_becomes_grey(padding):
    grey = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    picture = decode_image(message("mono8", grey, step=WIDTH + padding))
    np.testing.assert_array_equal(picture.pixels, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("big_endian", [False, True])
def test_mono16_keeps_the_upper_byte_in_either_byte_order(big_endian, padding):
    values = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
    stored = values.astype(">u2" if big_endian else "<u2")
    image = message("mono16", stored, step=WIDTH * 2 + padding, big_endian=big_endian)
    expected = (values >> 8).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(image).pixels[..., 1], expected)


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("white", [1, 255, 1023, 4095, 16383, 65534])
def test_mono16_is_scaled_to_what_is_white(white, big_endian, padding):
    values = np.random.default_rng(0).integers(0, min(white * 2, 65536), (HEIGHT, WIDTH))
    values[0, 0] = white
    stored = values.astype(">u2" if big_endian else "<u2")
    image = message("mono16", stored, step=WIDTH * 2 + padding, big_endian=big_endian)
    pixels = decode_image(image, white).pixels[..., 2]
    expected = np.minimum(values, white) * (255.0 / white)
    assert np.abs(pixels - expected).max() <= 0.51
    assert pixels[0, 0] == 255


@pytest.mark.parametrize(
    ("peak", "white", "words"),
    [
        (4095, 65535, "about 4095, and 65535 is white; if the camera's white is 4095"),
        (900, 65535, "mono16_white: 1023"),
        (12000, 65535, ""),
        (4000, 4095, ""),
        (200, 4095, "mono16_white: 255"),
    ],
)
def test_nearly_black_mono16_is_noticed(peak, white, words):
    values = np.zeros((HEIGHT, WIDTH), np.uint16)
    values[0, 0] = peak
    found = darkness(decode_image(message("mono16", values, step=WIDTH * 2), white), white)
    assert words in found and bool(found) == bool(words)


def test_other_encodings_are_never_called_dark():
    black = message("mono8", np.zeros((HEIGHT, WIDTH), np.uint8), step=WIDTH)
    assert darkness(decode_image(black), 65535) == ""


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_start_at_the_top_left_pixel(rgb, pattern, padding):
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for index, color in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(color)]
    image = message(f"bayer_{pattern}8", mosaic, step=WIDTH + padding)
    pixels = to_rgb(decode_image(image)).astype(int)
    inner = (slice(1, -1), [1, 2, -3, -2])  # away from the border and from the edge of colours
    assert np.abs(pixels[inner] - rgb[inner].astype(int)).max() <= 1


def yuv_planes(rgb):
    """Full-size Y, and U and V at half size in both directions; BT.601, limited range."""
    i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    flat = i420.reshape(-1)
    y = flat[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH)
    u, v = flat[HEIGHT * WIDTH :].reshape(2, HEIGHT // 2, WIDTH // 2)
    return y, u, v


def pack_422(rgb, order):
    y, u, v = yuv_planes(rgb)
    u, v = (np.repeat(plane, 2, axis=0) for plane in (u, v))
    parts = {"y": y[:, 0::2], "Y": y[:, 1::2], "u": u, "v": v}
    return np.stack([parts[part] for part in order], axis=2).reshape(HEIGHT, -1)


def semi_planar(rgb, first):
    y, u, v = yuv_planes(rgb)
    pair = (u, v) if first == "u" else (v, u)
    return np.vstack([y, np.stack(pair, axis=2).reshape(HEIGHT // 2, WIDTH)])


YUV = {
    "yuv422": lambda rgb: pack_422(rgb, "uyvY"),
    "uyvy": lambda rgb: pack_422(rgb, "uyvY"),
    "yuv422_yuy2": lambda rgb: pack_422(rgb, "yuYv"),
    "yuyv": lambda rgb: pack_422(rgb, "yuYv"),
    "nv12": lambda rgb: semi_planar(rgb, "u"),
    "nv21": lambda rgb: semi_planar(rgb, "v"),
}


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("encoding", YUV)
def test_yuv_becomes_rgb(rgb, encoding, padding):
    stored = YUV[encoding](rgb)
    picture = decode_image(message(encoding, stored, step=stored.shape[1] + padding))
    assert picture.pixels.shape == rgb.shape
    assert np.abs(to_rgb(picture).astype(int) - rgb.astype(int)).max() <= 4


def test_every_encoding_is_tested():
    bayer = {f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")}
    tested = {*PACKED, *WITH_ALPHA, *YUV, *bayer, "mono8", "mono16"}
    assert tested == set(ENCODINGS)


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"rgb8", "bgr8"}))
def test_converted_pictures_do_not_hold_the_message(encoding):
    rows = HEIGHT * 3 // 2 if encoding.startswith("nv") else HEIGHT
    size = {"rgba8": 4, "bgra8": 4, "mono16": 2}.get(encoding, 2 if "yuv" in encoding else 1)
    size = 2 if encoding in ("uyvy", "yuyv") else size
    image = message(encoding, np.zeros((rows, WIDTH * size), np.uint8))
    picture = decode_image(image)
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert picture.pixels.dtype == np.uint8


def test_the_padding_of_the_last_row_may_be_missing():
    pixels = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, -1)
    image = message("rgb8", pixels, step=WIDTH * 3 + 8)
    image.data = image.data[:-8]
    np.testing.assert_array_equal(decode_image(image).pixels.reshape(HEIGHT, -1), pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 5)])
@pytest.mark.parametrize("encoding", ["rgb8", "rgba8", "mono8", "mono16", "bayer_rggb8"])
def test_small_and_odd_sizes(encoding, size):
    height, width = size
    bytes_per_pixel = {"rgb8": 3, "rgba8": 4, "mono16": 2}.get(encoding, 1)
    rows = np.full((height, width * bytes_per_pixel), 77, np.uint8)
    picture = decode_image(message(encoding, rows, height=height, width=width))
    assert picture.pixels.shape == (height, width, 3)


def good(**changes):
    image = message("rgb8", np.zeros((HEIGHT, WIDTH * 3), np.uint8))
    vars(image).update(changes)
    return image


MALFORMED = {
    "no encoding": (good(encoding=""), "encoding '' is not supported"),
    "unknown encoding": (good(encoding="rgb565"), "'rgb565' is not supported.*rgb8.*nv21"),
    "depth image": (good(encoding="16UC1"), "'16UC1' is not supported"),
    "unnamed channels": (good(encoding="8UC3"), "'8UC3' is not supported"),
    "empty": (good(height=0, width=0, step=0, data=b""), "0 x 0 pixels"),
    "no rows": (good(height=0, data=b""), "8 x 0 pixels"),
    "no columns": (good(width=0), "0 x 6 pixels"),
    "step 0": (good(step=0), "step is 0; expected at least 24"),
    "step below width": (good(step=23), "step is 23; expected at least 24"),
    "no data": (good(data=b""), "data has 0 bytes; expected 144"),
    "short data": (good(data=bytes(143)), "data has 143 bytes; expected 144"),
    "long data": (good(data=bytes(145)), "data has 145 bytes; expected 144"),
    "data without a row": (good(data=bytes(120)), "data has 120 bytes"),
    "absurdly wide": (good(width=2**32 - 1), "4294967295 x 6 pixels"),
    "absurdly high": (good(height=2**31), "8 x 2147483648 pixels"),
    "side too long": (good(width=MAX_SIDE + 1, step=3 * MAX_SIDE + 3), "at most"),
    "too many pixels": (good(height=8192, width=8192, step=3 * 8192), "at most"),
    "absurd step": (good(step=2**32 - 1), "data has 144 bytes"),
    "odd width of yuv422": (good(encoding="yuv422", width=7), "7 x 6; expected a width"),
    "odd width of nv12": (good(encoding="nv12", width=7), "7 x 6; expected a width"),
    "odd height of nv12": (good(encoding="nv12", height=5), "8 x 5.*height.*multiple of 2"),
    "nv12 without colour": (
        good(encoding="nv12", step=8, data=bytes(48)),
        "data has 48 bytes; expected 72",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_images_are_refused_with_a_reason(name):
    image, reason = MALFORMED[name]
    with pytest.raises(ImageError, match=reason):
        decode_image(image)


@pytest.fixture
def bridge(monkeypatch):
    """Have a cv_bridge that answers an image with what a test says."""

    def install(answer):
        module = SimpleNamespace(CvBridge=lambda: SimpleNamespace(imgmsg_to_cv2=answer))
        monkeypatch.setitem(sys.modules, "cv_bridge", module)
        images._cv_bridge.cache_clear()

    yield install
    images._cv_bridge.cache_clear()


def test_other_encodings_go_through_cv_bridge(bridge):
    pixels = np.full((HEIGHT, WIDTH, 3), 7, np.uint8)
    asked = []
    bridge(lambda message, wanted: asked.append((message.encoding, wanted)) or pixels)
    picture = decode_image(good(encoding="rgb16"))
    assert (picture.channel_order, picture.pixels.shape) == ("rgb", pixels.shape)
    assert (picture.pixels == 7).all()
    decode_image(good(encoding="bgr8"))
    assert asked == [("rgb16", "rgb8")], "our own encodings do not need it"


def refuse(message, wanted):
    raise TypeError("[32FC1] is not a color format")


@pytest.mark.parametrize(
    ("answer", "changes", "reason"),
    [
        (refuse, {}, r"'32FC1' is not supported.*\[32FC1\] is not a color format"),
        (lambda *_: np.zeros((HEIGHT, WIDTH), np.uint8), {}, r"makes uint8 \(6, 8\) of it"),
        (lambda *_: np.zeros((HEIGHT, WIDTH, 3)), {}, "makes float64"),
        (lambda *_: pytest.fail("was asked"), {"width": 0}, "0 x 6 pixels"),
        (lambda *_: pytest.fail("was asked"), {"height": 2**31}, "8 x 2147483648 pixels"),
    ],
)
def test_what_cv_bridge_does_not_read_is_refused_with_its_reason(bridge, answer, changes, reason):
    bridge(answer)
    with pytest.raises(ImageError, match=reason):
        decode_image(good(encoding="32FC1", **changes))


@pytest.mark.parametrize("error", [ImportError("numpy.core.multiarray"), AttributeError("_ARRAY")])
def test_a_cv_bridge_for_another_numpy_is_none(bridge, monkeypatch, error):
    class Broken:
        def __getattr__(self, name):
            raise error

    bridge(None)
    monkeypatch.setitem(sys.modules, "cv_bridge", Broken())
    with pytest.raises(ImageError, match=r"'rgb16' is not supported.*apt install ros-"):
        decode_image(good(encoding="rgb16"))


def test_the_real_cv_bridge_reads_16_bit_colours():
    pytest.importorskip("cv_bridge", reason="cv_bridge is not installed; it is optional")
    from sensor_msgs.msg import Image

    image = Image(height=2, width=2, encoding="rgb16", step=12, data=bytes([0, 200] * 12))
    np.testing.assert_allclose(decode_image(image).pixels, np.full((2, 2, 3), 200), atol=1)
