"""From compressed image messages to pixels: JPEG and PNG, checked before they are decoded.

The decoder is given only data that is complete and of an acceptable size, because it allocates
what the header promises and fills the missing part of a cut-off JPEG with grey.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np

from rmpsam_ros.node.input.images import DecodedImage, ImageError, check_size

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_JPEG_TRAILER = 4096  # bytes that drivers may append after the end of a JPEG
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def decode_compressed(message: Any) -> DecodedImage:
    """Read a ``sensor_msgs/CompressedImage`` that holds a JPEG or PNG image, as (H, W, 3) uint8.

    What the data is is told by its first bytes; ``format`` is used in error messages only. 16 bit
    PNG is reduced to 8 bits, alpha is dropped, an orientation stored in the file is ignored.

    Raises:
        ImageError: another format, data that is cut off or corrupt, or a size out of bounds.
    """
    data = bytes(message.data)
    if data.startswith(_PNG_SIGNATURE):
        height, width = _check_png(data)
    elif data.startswith(_JPEG_START):
        height, width = _check_jpeg(data)
    else:
        raise ImageError(
            f"compressed image of format '{message.format}' starts with {data[:8].hex(' ')!r} and "
            f"has {len(data)} bytes; expected JPEG or PNG"
        )
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"compressed image cannot be decoded: {error.err}") from error
    if pixels is None or pixels.shape != (height, width, 3):
        raise ImageError(
            f"compressed image of format '{message.format}' and {len(data)} bytes is corrupt"
        )
    return DecodedImage(np.asarray(pixels, np.uint8), "bgr")


def _check_png(data: bytes) -> tuple[int, int]:
    """Height and width of a PNG whose chunks are complete and have the right checksums."""
    position, size = len(_PNG_SIGNATURE), None
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            raise ImageError(f"PNG is corrupt: wrong checksum of its {kind!r} chunk")
        if size is None:
            if kind != b"IHDR" or length != 13:
                raise ImageError(f"PNG is corrupt: it starts with a {kind!r} chunk")
            width, height = struct.unpack_from(">II", data, position + 8)
            check_size(height, width)
            size = (height, width)
        if kind == b"IEND":
            return size
        position = end
    raise ImageError(f"PNG is cut off after {len(data)} bytes")


def _check_jpeg(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG that is not cut off."""
    if data.rfind(_JPEG_END, len(data) - _JPEG_TRAILER if len(data) > _JPEG_TRAILER else 2) < 0:
        raise ImageError(f"JPEG is cut off after {len(data)} bytes: its end mark is missing")
    position = len(_JPEG_START)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ImageError(f"JPEG is corrupt: no marker at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _JPEG_FRAMES and position + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, position + 5)
            check_size(height, width)
            return height, width
        if marker == 0xDA or length < 2:  # start of the pixels
            break
        position += 2 + length
    raise ImageError("JPEG is corrupt: it has no size")
