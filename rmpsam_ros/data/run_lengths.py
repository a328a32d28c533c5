"""COCO's run-length masks: column-major runs, plain or packed into a string."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.samples import DataError


def decode_coco(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the mask [H, W] of ``{"size": [H, W], "counts": list or string}``."""
    height, width = rle["size"]
    counts = rle["counts"]
    runs = _unpack(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise DataError(f"run lengths sum to {runs.sum()}; expected {height} x {width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def encode_coco(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask [H, W] as plain COCO run lengths, starting with the zeros."""
    flat = mask.T.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges).tolist()
    if flat.size and flat[0]:
        runs = [0, *runs]
    return {"size": list(mask.shape), "counts": runs}


def _unpack(text: str) -> NDArray[np.int64]:
    """Undo COCO's packing: 5 bits per character, from the third run on as differences."""
    runs: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            if position >= len(text):
                raise DataError("packed run lengths end in the middle of a number")
            code = ord(text[position]) - 48
            value |= (code & 0x1F) << shift
            more = bool(code & 0x20)
            position += 1
            shift += 5
            if not more and code & 0x10:
                value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
    return np.array(runs, np.int64)
