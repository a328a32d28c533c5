"""Wire format to the browser: one header in JSON, then plain arrays.

::

    uint32   length of the header
    float32  age of the image when it was sent, seconds; NaN: unknown
    bytes    header, UTF-8, filled up with spaces to a multiple of 4
    bytes    sections, each filled up with zeros to a multiple of 4

Everything is little endian. The header's ``sections`` is a list of ``[offset, count, type]``, the
offset from the end of the header, the type ``u8``, ``u16`` or ``u32``. ``page/wire.js`` reads it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"uint8": "u8", "uint16": "u16", "uint32": "u32"}
PREFIX = struct.Struct("<If")


class Packer:
    """Collects the sections of one message.

    >>> packer = Packer()
    >>> packer.add(np.array([1, 2, 3], np.uint16))
    0
    >>> len(packer.pack({"type": "frame"})) % 4
    0
    """

    def __init__(self) -> None:
        self._sections: list[tuple[int, int, str]] = []
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: NDArray[Any] | Sequence[int], dtype: str = "") -> int:
        """Add an array of uint8, uint16 or uint32 of any shape; return its number."""
        array = np.asarray(values, dtype or None).reshape(-1)
        data = array.tobytes()
        self._sections.append((self._size, array.size, _TYPES[array.dtype.name]))
        self._parts += [data, bytes(-len(data) % 4)]
        self._size += len(data) + -len(data) % 4
        return len(self._sections) - 1

    def pack(self, header: Mapping[str, Any]) -> bytes:
        """Return the message without its prefix; `finish` puts that before it."""
        text = json.dumps({**header, "sections": self._sections}, separators=(",", ":"))
        head = text.encode()
        head += b" " * (-len(head) % 4)
        return b"".join([struct.pack("<I", len(head)), head, *self._parts])


def finish(message: bytes, age: float = float("nan")) -> bytes:
    """Return a packed message with the age of its image, seconds."""
    (length,) = struct.unpack_from("<I", message)
    return b"".join([PREFIX.pack(length, age), memoryview(message)[4:]])
