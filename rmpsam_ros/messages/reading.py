"""From messages to arrays and names: for whoever subscribes to the node.

Every function takes the message as it comes, of ROS 2 or read from a recording, and the library's
own result where there is one. What is absent gives what is empty.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.run_length import (
    Box,
    RunLengthMask,
    decode_id_map,
    decode_mask,
    mask_of_message,
)

MAX_PIXELS = 2**31  # larger images are refused, as run_length_mask.hpp does
_LAYOUTS: dict[str, tuple[str, int]] = {  # encoding: number type and channels
    "mono8": ("u1", 1),
    "8UC1": ("u1", 1),
    "rgb8": ("u1", 3),
    "bgr8": ("u1", 3),
    "mono16": ("u2", 1),
    "16UC1": ("u2", 1),
    "32FC1": ("f4", 1),
}


def decode(mask: Any) -> NDArray[np.bool_] | None:
    """Return a mask as (height, width) bool; None for None.

    Args:
        mask: a ``RunLengthMask`` message, a message that has one in a field ``mask``
            (``InstanceTrack``, ``PromptedMask``), the library's `RunLengthMask`, or an array
            (height, width) that is not 0 where the mask is. That of a lost track is all False.

    Raises:
        TypeError: anything else.
        ValueError: the image is too large, the box leaves it, or the counts do not add up.
    """
    if isinstance(mask, np.ndarray):
        if mask.ndim != 2:
            raise ValueError(f"a mask as an array has shape (height, width), got {mask.shape}")
        return mask != 0
    runs = run_lengths(mask)
    return None if runs is None else decode_mask(runs)


def run_lengths(mask: Any) -> RunLengthMask | None:
    """Return a mask's checked run lengths, which know its area, its box and `covers`.

    Nothing is decoded.

    Args:
        mask: as for `decode`, but no array.

    Raises:
        TypeError: anything else.
        ValueError: as for `decode`.
    """
    if mask is None or isinstance(mask, RunLengthMask):
        runs = mask
    else:
        message = getattr(mask, "mask", mask)
        if not hasattr(message, "counts") or not hasattr(message, "box"):
            raise TypeError(
                "expected a RunLengthMask, a message with a field mask, an array or None, got "
                f"{type(mask).__name__}"
            )
        runs = mask_of_message(message)
    if runs is not None:
        _check(runs)
    return runs


def area(mask: Any) -> int:
    """Return the pixels of a mask, 0 for None; nothing is decoded. Otherwise as `run_lengths`."""
    runs = run_lengths(mask)
    return 0 if runs is None else runs.area


def box(mask: Any) -> Box | None:
    """Return the tight box (x_min, y_min, x_max, y_max), right and bottom exclusive.

    None for None and for an empty mask. Otherwise as `run_lengths`.
    """
    runs = run_lengths(mask)
    return None if runs is None or not runs.area else runs.box


def decode_ids(message: Any) -> NDArray[np.uint16] | None:
    """Return the id map (height, width) uint16 of a ``PanopticSegmentation``; None for None.

    0 is no segment; every other value is the id of one of ``message.segments``.

    Raises:
        ValueError: the image is too large, or the run lengths do not add up to it.
    """
    if message is None:
        return None
    height, width = int(message.height), int(message.width)
    _check_size(height, width)
    ids, lengths = np.asarray(message.run_ids), np.asarray(message.run_lengths)
    return decode_id_map(ids.astype(np.uint16), lengths.astype(np.uint32), height, width)


def label_names(table: Any) -> dict[int, str]:
    """Return the names of the classes by their ids; empty for None.

    Args:
        table: a ``LabelTable``, or ``vision_msgs/LabelInfo``.
    """
    if table is None:
        return {}
    labels = table.labels if hasattr(table, "labels") else table.class_map
    return {
        int(label.class_id): label.name if hasattr(label, "name") else label.class_name
        for label in labels
    }


def pixels(image: Any) -> NDArray[Any] | None:
    """Return the pixels of a ``sensor_msgs/Image``, a view of its data; None for None.

    Args:
        image: mono8, 8UC1, mono16, 16UC1 or 32FC1: (height, width); rgb8 or bgr8: (height, width,
            3). For other encodings there is cv_bridge.

    Raises:
        ValueError: another encoding, or size, step and data that do not fit together.
    """
    if image is None:
        return None
    if image.encoding not in _LAYOUTS:
        raise ValueError(f"encoding is {image.encoding!r}, expected one of {', '.join(_LAYOUTS)}")
    kind, channels = _LAYOUTS[image.encoding]
    big_endian = bool(image.is_bigendian)
    dtype = np.dtype(kind).newbyteorder(">" if big_endian else "<")
    height, width, step = int(image.height), int(image.width), int(image.step)
    _check_size(height, width)
    row, data = width * channels * dtype.itemsize, np.frombuffer(image.data, np.uint8)
    if step < row or (height and len(data) < (height - 1) * step + row):
        raise ValueError(
            f"data has {len(data)} bytes in rows of {step}; expected {height} rows of at least "
            f"{row} for a {image.encoding} image of {width} x {height}"
        )
    shape, strides = (height, width, channels), (step, channels * dtype.itemsize, dtype.itemsize)
    whole: NDArray[Any] = np.ndarray(shape, dtype, data, strides=strides)
    whole = whole if big_endian == (sys.byteorder == "big") else whole.astype(kind)
    return whole[:, :, 0] if channels == 1 else whole


def _check(runs: RunLengthMask) -> None:
    """Raise ValueError for run lengths that no mask has."""
    _check_size(runs.height, runs.width)
    x_min, y_min, x_max, y_max = runs.box
    if not (0 <= x_min <= x_max <= runs.width and 0 <= y_min <= y_max <= runs.height):
        raise ValueError(f"box {runs.box} leaves the {runs.width} x {runs.height} image")
    total = int(np.sum(runs.counts, dtype=np.uint64))
    if total != (x_max - x_min) * (y_max - y_min):
        raise ValueError(f"counts add up to {total}, which is not the area of box {runs.box}")


def _check_size(height: int, width: int) -> None:
    if height < 0 or width < 0 or height * width > MAX_PIXELS:
        raise ValueError(
            f"an image of {width} x {height} pixels; expected at most {MAX_PIXELS} pixels"
        )
