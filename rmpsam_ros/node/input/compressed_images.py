"""From compressed image messages to pixels: JPEG and PNG, checked before they are decoded.

The decoder is given only data that is complete, of an acceptable size and decoded in an acceptable
time, because it allocates and works off whatever the headers promise.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.node.input import jpeg
from rmpsam_ros.node.input.images import DecodedImage, ImageError, check_size

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_compressed(message: Any) -> DecodedImage:
    """Read a ``sensor_msgs/CompressedImage`` that holds a JPEG or PNG image, as (H, W, 3) uint8.

    What the data is is told by its first bytes; ``format`` is used in error messages only. 16 bit
    PNG is reduced to 8 bits, alpha is dropped, an orientation stored in the file is ignored.

    Returns:
        The image; of a JPEG also what is damaged, where that can be told.

    Raises:
        ImageError: another format, data that is cut off or corrupt, a size out of bounds, or too
            long to decode.
    """
    data = bytes(message.data)
    if data.startswith(jpeg.START):
        pixels, damage = jpeg.decode_jpeg(data)
        return DecodedImage(pixels, "bgr", damage=damage)
    if data.startswith(_PNG_SIGNATURE):
        return DecodedImage(_decode_png(data), "bgr")
    raise ImageError(
        f"compressed image of format '{message.format}' starts with {data[:8].hex(' ')!r} and "
        f"has {len(data)} bytes; expected JPEG or PNG"
    )


def _decode_png(data: bytes) -> NDArray[np.uint8]:
    height, width = _check_png(data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"PNG cannot be decoded: {error.err}") from error
    if pixels is None or pixels.shape != (height, width, 3):
        raise ImageError(f"PNG of {len(data)} bytes is corrupt: it cannot be decoded")
    return np.asarray(pixels, np.uint8)


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
