"""JPEG data: what its markers promise, and its pixels together with what was found damaged.

A JPEG has no checksum. Damage shows where the decoder stumbles, which OpenCV only prints;
simplejpeg tells it and gives the same pixels. Where simplejpeg is missing, only cut-off data and
missing scans are noticed.
"""

from __future__ import annotations

import functools
import re
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.node.input.images import MAX_PIXELS, ImageError, check_size

START, END = b"\xff\xd8", b"\xff\xd9"
MAX_TRAILER = 4096  # bytes that drivers may append after the end
# Decoding takes time for every scan, even an empty one of 50 bytes: without a limit 1 MB keeps a
# core busy for minutes. Usual progressive images have about ten scans.
MAX_SCANS = 500
MAX_SCANNED_PIXELS = 32 * MAX_PIXELS
MAX_PADDING = 16  # bytes that cameras leave between the data and the next marker
NOT_INSTALLED = (
    "simplejpeg is not installed: of damaged JPEG images only those are noticed that are cut off "
    "(pip install simplejpeg)"
)

_SCAN = b"\xff\xda"
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_COEFFICIENTS = 64
# What libjpeg says when it had to make up pixels. It says other things, too: of markers it does
# not know, and of headers that some cameras fill wrongly.
_DAMAGE = re.compile(r"Corrupt JPEG data: (?!bad ICC)|Premature end|Inconsistent progression")
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd[0-9]$")


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the markers say.

    Attributes:
        components: of colour; 1: grey, 3: colour, 4: as printers have it.
        damage: what is missing between them; empty: nothing.
    """

    height: int
    width: int
    components: int
    damage: str


def read_header(data: bytes) -> JpegHeader:
    """Read the markers of JPEG data.

    Raises:
        ImageError: the data is cut off or has no markers, is of a size out of bounds, or would
            take too long to decode.
    """
    if data.rfind(END, len(data) - MAX_TRAILER if len(data) > MAX_TRAILER else 2) < 0:
        raise ImageError(f"JPEG is cut off after {len(data)} bytes: its end mark is missing")
    position, frame = len(START), None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ImageError(f"JPEG is corrupt: no marker at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _FRAMES and frame is None and position + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            check_size(height, width)
            frame = (height, width, marker in _PROGRESSIVE)
            ids = data[position + 10 : position + 10 + 3 * components : 3]
        if marker == 0xDA or length < 2:  # start of the pixels
            break
        position += 2 + length
    if frame is None:
        raise ImageError("JPEG is corrupt: it has no size")
    height, width, progressive = frame
    if not progressive and data[position : position + 2] == _SCAN:
        if data[position + 4 : position + 5] == bytes([len(ids)]):
            return JpegHeader(height, width, len(ids), "")  # one scan with everything
    damage = _check_scans(data, position, ids, progressive, height * width)
    return JpegHeader(height, width, len(ids), damage)


def _check_scans(data: bytes, position: int, ids: bytes, progressive: bool, pixels: int) -> str:
    """Return what the scans from a position on leave out.

    Raises:
        ImageError: there are too many.
    """
    limit = min(MAX_SCANS, MAX_SCANNED_PIXELS // pixels)
    missing = {component: bytearray([1]) * _COEFFICIENTS for component in ids}
    scans = 0
    while (position := data.find(_SCAN, position)) >= 0:
        scans += 1
        if scans > limit:
            raise ImageError(
                f"JPEG of {pixels} pixels has more than {limit} scans; expected one, or about ten "
                "for a progressive image: it would take too long to decode"
            )
        count = data[position + 4] if position + 4 < len(data) else 0
        end = position + 5 + 2 * count
        if progressive and end + 3 <= len(data):
            first, last, bits = data[end : end + 3]
            last = min(last, _COEFFICIENTS - 1)
        else:
            first, last, bits = 0, _COEFFICIENTS - 1, 0
        if not bits & 0x0F:  # down to the last bit
            for component in data[position + 5 : end : 2]:
                if component in missing:
                    missing[component][first : last + 1] = bytes(max(0, last + 1 - first))
        position += len(_SCAN)
    left = sum(map(any, missing.values()))
    return f"scans are missing for {left} of {len(missing)} components" if left else ""


def decode_jpeg(data: bytes) -> tuple[NDArray[np.uint8], str]:
    """Decode JPEG data.

    Returns:
        Pixels (H, W, 3) uint8 BGR, and what is damaged; empty: nothing that could be noticed.

    Raises:
        ImageError: as `read_header`, or it cannot be decoded at all.
    """
    header = read_header(data)
    decoder = _simplejpeg()
    if decoder is not None and header.components in (1, 3):
        pixels = np.empty((header.height, header.width, 3), np.uint8)
        try:
            decoder.decode_jpeg(data, "BGR", strict=True, buffer=pixels)
            return pixels, header.damage
        except ValueError as error:
            said = str(error)
        padding = _PADDING.match(said)
        if padding is not None and int(padding[1]) <= MAX_PADDING:
            return pixels, header.damage
        if _DAMAGE.match(said):
            return pixels, header.damage or said.removeprefix("Corrupt JPEG data: ")
        # Nothing that is known: OpenCV may do better, or does not read it either.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"JPEG cannot be decoded: {error.err}") from error
    if decoded is None or decoded.shape != (header.height, header.width, 3):
        raise ImageError(f"JPEG of {len(data)} bytes is corrupt: it cannot be decoded")
    return np.asarray(decoded, np.uint8), header.damage


def finds_damage() -> bool:
    """Tell whether damage inside the data is noticed."""
    return _simplejpeg() is not None


@functools.cache
def _simplejpeg() -> Any:
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
