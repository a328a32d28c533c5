"""Masks as COCO has them: run lengths down the columns, zeros first, packed into a string.

pycocotools packs them. It does not read them here: run lengths that end too early become masks of
uninitialised memory in it, and annotations are other people's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_mask


def encode_coco(mask: NDArray[np.bool_] | RunLengthMask) -> dict[str, Any]:
    """Return a mask, (H, W), as ``{"size": [H, W], "counts": packed run lengths}``, for JSON."""
    pixels = decode_mask(mask) if isinstance(mask, RunLengthMask) else mask
    packed = coco.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": list(pixels.shape), "counts": packed["counts"].decode("ascii")}


def decode_coco(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the mask, (H, W), of ``{"size": [H, W], "counts": list or packed string}``.

    Raises:
        ValueError: the run lengths are not those of a mask of that size.
    """
    height, width = rle["size"]
    counts = rle["counts"]
    runs = _unpack(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"run lengths sum to {runs.sum()}; expected {height} x {width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _unpack(text: str) -> NDArray[np.int64]:
    """Undo COCO's packing: 5 bits per character, from the third run on as differences."""
    runs: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            if position >= len(text):
                raise ValueError("packed run lengths end in the middle of a number")
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
