"""From raw image messages to pixels, for every common camera encoding.

Works on any object with the fields of ``sensor_msgs/Image``. Where the layout allows it the pixels
are a view of the message's own buffer and nothing is copied. Rare encodings go through cv_bridge,
where that is installed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

ChannelOrder = Literal["rgb", "bgr"]

MAX_SIDE = 16384  # pixels; the segmentation's own limit
MAX_PIXELS = 7680 * 4320  # larger images are a mistake or an attack
WHITE_16 = 65535
_PEAK_STRIDE = 8  # of the pixels that are looked at


class ImageError(ValueError):
    """An image message that cannot be read; the message says what came and what was expected."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels (H, W, 3) uint8, possibly a view of the message, and the order of their channels.

    Attributes:
        damage: what is wrong with the data that the pixels were made from; empty: nothing known.
        peak: of 16 bit grey, about the greatest value; None: of another encoding.
    """

    pixels: NDArray[np.uint8]
    channel_order: ChannelOrder
    damage: str = ""
    peak: int | None = None


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How one encoding lies in memory and becomes three channels.

    Attributes:
        bytes_per_pixel: in one row.
        convert: from the rows (rows, bytes) uint8 and the byte order to the image.
        width_unit, height_unit: what the size must be a multiple of.
        color_rows: rows of colour that follow every two rows of brightness.
    """

    bytes_per_pixel: int
    convert: Callable[[NDArray[np.uint8], bool], DecodedImage]
    width_unit: int = 1
    height_unit: int = 1
    color_rows: int = 0


def _packed(order: ChannelOrder, channels: int) -> _Encoding:
    """Channels side by side: a view, or a copy without alpha."""

    def convert(rows: NDArray[np.uint8], big_endian: bool) -> DecodedImage:
        pixels = rows.reshape(len(rows), -1, channels)
        return DecodedImage(
            _opencv(pixels, cv2.COLOR_RGBA2RGB) if channels == 4 else pixels, order
        )

    return _Encoding(channels, convert)


def _converted(code: int, channels: int = 1, **layout: int) -> _Encoding:
    """One OpenCV colour conversion to RGB."""

    def convert(rows: NDArray[np.uint8], big_endian: bool) -> DecodedImage:
        pixels = rows.reshape(len(rows), -1, channels) if channels > 1 else rows
        return DecodedImage(_opencv(pixels, code), "rgb")

    return _Encoding(channels, convert, **layout)


def _mono16(white: int) -> _Encoding:
    """16 bit grey, of which `white` and above becomes 255."""

    def convert(rows: NDArray[np.uint8], big_endian: bool) -> DecodedImage:
        values = rows.view(">u2" if big_endian else "<u2")
        peak = int(values[::_PEAK_STRIDE, ::_PEAK_STRIDE].max())
        if white == WHITE_16:  # exactly the upper byte, and nothing to be computed
            grey = np.ascontiguousarray(rows[:, 0 if big_endian else 1 :: 2])
        else:
            scaled = cv2.convertScaleAbs(values.astype(np.uint16), alpha=255.0 / white)
            grey = np.asarray(scaled, np.uint8)
        return DecodedImage(_opencv(grey, cv2.COLOR_GRAY2RGB), "rgb", peak=peak)

    return _Encoding(2, convert)


def _opencv(pixels: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


# OpenCV names a Bayer pattern by its second row and column, ROS by its first: hence BG for RGGB.
# YUV is read as BT.601 with limited range, as cameras and OpenCV write it.
_UYVY = _converted(cv2.COLOR_YUV2RGB_UYVY, 2, width_unit=2)
_YUYV = _converted(cv2.COLOR_YUV2RGB_YUY2, 2, width_unit=2)
_PLANES = {"width_unit": 2, "height_unit": 2, "color_rows": 1}
ENCODINGS: dict[str, _Encoding] = {
    "rgb8": _packed("rgb", 3),
    "bgr8": _packed("bgr", 3),
    "rgba8": _packed("rgb", 4),
    "bgra8": _packed("bgr", 4),
    "mono8": _converted(cv2.COLOR_GRAY2RGB),
    "mono16": _mono16(WHITE_16),
    "bayer_rggb8": _converted(cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _converted(cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _converted(cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _converted(cv2.COLOR_BayerGB2RGB),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _converted(cv2.COLOR_YUV2RGB_NV12, **_PLANES),
    "nv21": _converted(cv2.COLOR_YUV2RGB_NV21, **_PLANES),
}


def decode_image(message: Any, mono16_white: int = WHITE_16) -> DecodedImage:
    """Read a ``sensor_msgs/Image``.

    The rows may be padded (``step``). Encodings: the keys of `ENCODINGS`, and what cv_bridge
    converts to rgb8 where it is installed; alpha is dropped.

    Args:
        mono16_white: value of mono16 that is white, 1 to 65535: 4095 for cameras of 12 bits.

    Returns:
        Pixels (H, W, 3) uint8; rgb8 and bgr8 are a view of ``message.data``.

    Raises:
        ImageError: unknown encoding, or size, step and data that do not fit together.
    """
    encoding = ENCODINGS.get(message.encoding)
    if message.encoding == "mono16" and mono16_white != WHITE_16:
        encoding = _mono16(mono16_white)
    if encoding is None:
        return _through_cv_bridge(message)
    height, width = message.height, message.width
    check_size(height, width)
    if width % encoding.width_unit or height % encoding.height_unit:
        raise ImageError(
            f"{message.encoding} image is {width} x {height}; expected a width that is a multiple "
            f"of {encoding.width_unit} and a height that is a multiple of {encoding.height_unit}"
        )
    row_bytes = width * encoding.bytes_per_pixel
    if message.step < row_bytes:
        raise ImageError(
            f"step is {message.step}; expected at least {row_bytes} bytes for a "
            f"{message.encoding} image of width {width}"
        )
    rows = height + height // 2 * encoding.color_rows
    data = np.frombuffer(message.data, np.uint8)
    # The padding of the last row may be missing.
    expected = (rows - 1) * message.step + row_bytes
    if len(data) < expected or len(data) > rows * message.step:
        raise ImageError(
            f"data has {len(data)} bytes; expected {rows * message.step} for a {message.encoding} "
            f"image of {width} x {height} with step {message.step}"
        )
    view = np.lib.stride_tricks.as_strided(
        data, (rows, row_bytes), (message.step, 1), writeable=False
    )
    return encoding.convert(view, bool(message.is_bigendian))


def check_size(height: int, width: int) -> None:
    """Raise ImageError for an empty image or one too large to be meant."""
    if height < 1 or width < 1:
        raise ImageError(f"image is {width} x {height} pixels; expected at least 1 x 1")
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise ImageError(
            f"image is {width} x {height} pixels; at most {MAX_PIXELS} pixels in all and "
            f"{MAX_SIDE} on a side are accepted"
        )


def _through_cv_bridge(message: Any) -> DecodedImage:
    """Read an image of an encoding that is not in `ENCODINGS`."""
    problem = (
        f"encoding '{message.encoding}' is not supported; expected one of {', '.join(ENCODINGS)}"
    )
    bridge = _cv_bridge()
    if bridge is None:
        raise ImageError(
            f"{problem}, or with cv_bridge what that knows (apt install ros-$ROS_DISTRO-cv-bridge)"
        )
    check_size(message.height, message.width)
    try:
        pixels = np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"))
    except Exception as error:  # of several kinds: it checks little before it reads
        raise ImageError(f"{problem}; cv_bridge does not read it either: {error}") from None
    if pixels.shape != (message.height, message.width, 3) or pixels.dtype != np.uint8:
        raise ImageError(f"{problem}; cv_bridge makes {pixels.dtype} {pixels.shape} of it")
    return DecodedImage(pixels, "rgb")


@functools.cache
def _cv_bridge() -> Any:
    """Return a converter; None: cv_bridge is not there, or was built for another NumPy."""
    try:
        from cv_bridge import CvBridge
    except Exception:
        return None
    return CvBridge()
