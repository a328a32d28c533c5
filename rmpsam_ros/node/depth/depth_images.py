"""From depth image messages to depth.

Works on any object with the fields of ``sensor_msgs/Image``. The depth is a view of the message's
own buffer where the byte order is this machine's.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rmpsam_ros.geometry import DepthImage
from rmpsam_ros.node.input.images import ImageError, check_size

# REP 118: millimetres in 16 bits or metres in 32; some drivers say mono16.
ENCODINGS: dict[str, np.dtype[Any]] = {
    "16UC1": np.dtype(np.uint16),
    "mono16": np.dtype(np.uint16),
    "32FC1": np.dtype(np.float32),
}


def decode_depth(message: Any) -> DepthImage:
    """Read a depth image (H, W); the rows may be padded (``step``).

    Raises:
        ImageError: unknown encoding, or size, step and data that do not fit together.
    """
    kind = ENCODINGS.get(message.encoding)
    if kind is None:
        raise ImageError(
            f"depth has encoding '{message.encoding}'; expected one of {', '.join(ENCODINGS)}"
        )
    height, width, step = message.height, message.width, message.step
    check_size(height, width)
    row_bytes = width * kind.itemsize
    if step < row_bytes:
        raise ImageError(
            f"depth has step {step}; expected at least {row_bytes} bytes for width {width}"
        )
    data = np.frombuffer(message.data, np.uint8)
    # The padding of the last row may be missing.
    if not (height - 1) * step + row_bytes <= len(data) <= height * step:
        raise ImageError(
            f"depth has {len(data)} bytes of data; expected {height * step} for {width} x {height}"
            f" pixels with step {step}"
        )
    if bool(message.is_bigendian) != (sys.byteorder == "big"):
        kind = kind.newbyteorder()
    rows = np.lib.stride_tricks.as_strided(data, (height, row_bytes), (step, 1), writeable=False)
    return DepthImage(rows.view(kind).astype(kind.newbyteorder("="), copy=False))
