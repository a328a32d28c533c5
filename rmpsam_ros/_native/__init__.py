"""Compiled kernels of the post-processing, loaded from the shared library beside this file.

Thin, typed entry points: they allocate outputs, pass pointers and turn error codes into
exceptions. Callers check shapes and value ranges first. The library has a plain C interface and
runs without the interpreter lock.
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Runs = tuple[NDArray[np.uint16], NDArray[np.uint32]]  # values and lengths, row by row
Room = tuple[NDArray[np.uint16], NDArray[np.uint32], ctypes.c_int64]

_LIBRARY = Path(__file__).with_name("librmpsam_kernels.so")
_OUT_OF_MEMORY = 2

_POINTER = ctypes.c_void_p
_INT, _LONG = ctypes.c_int32, ctypes.c_int64
_SIGNATURES = {
    "rmpsam_fuse": [*3 * [_POINTER], _INT, _POINTER, _INT, *7 * [_POINTER]],
    "rmpsam_shared_cells": [*2 * [_POINTER], *5 * [_INT], *2 * [_POINTER]],
    "rmpsam_tidy_runs": [
        *(*2 * [_POINTER], _LONG, *2 * [_INT], _POINTER, _INT, ctypes.c_double, *3 * [_LONG]),
        *5 * [_POINTER],
    ],
    "rmpsam_relabel_runs": [*2 * [_POINTER], _LONG, _POINTER, _INT, *3 * [_POINTER]],
    "rmpsam_paint_runs": [*2 * [_POINTER], _LONG, _INT, _LONG, _POINTER],
    "rmpsam_binary_mask": [_POINTER, _POINTER, _INT, _INT, _POINTER, _INT, *4 * [_POINTER]],
    "rmpsam_encode_map": [_POINTER, _INT, _INT, *3 * [_POINTER]],
    "rmpsam_encode_segments": [
        *(*2 * [_POINTER], _LONG, *2 * [_INT], *2 * [_POINTER, _INT], *2 * [_POINTER])
    ],
    "rmpsam_encode_mask": [_POINTER, _INT, _INT, *3 * [_POINTER]],
    "rmpsam_normalize": [
        *(_POINTER, *2 * [_INT], *3 * [_LONG], *2 * [_POINTER], *2 * [_INT], _POINTER)
    ],
    "rmpsam_sign_bits": [_POINTER, *2 * [_LONG], _POINTER],
    "rmpsam_tint": [_POINTER, _POINTER, _INT, _INT, _POINTER, *4 * [_INT], _POINTER],
}


def _load() -> ctypes.CDLL:
    if not _LIBRARY.is_file():
        raise ImportError(
            f"the compiled kernels {_LIBRARY} are missing; build the package with colcon or pip, "
            "or run `make native` in a source tree"
        )
    library = ctypes.CDLL(str(_LIBRARY))
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = ctypes.c_int
    return library


def _count_threads() -> int:
    """Processors this process may use, four at most: more do not make these kernels faster."""
    if hasattr(os, "sched_getaffinity"):
        return min(4, len(os.sched_getaffinity(0)))
    return min(4, os.cpu_count() or 1)


_library = _load()
_kept = threading.local()
_threads = _count_threads()


def _call(name: str, *arguments: object) -> None:
    values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    code = getattr(_library, name)(*values)
    if code == _OUT_OF_MEMORY:
        raise MemoryError(f"{name} ran out of memory")
    if code:
        raise ValueError(f"{name} was given inconsistent arguments")


def fuse(
    logits: NDArray[np.float32],
    selection: NDArray[np.int32],
    scores: NDArray[np.float32],
    geometry: NDArray[np.int32],
) -> tuple[Runs, NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
    """Assign every image pixel to the query with the largest score * sigmoid(logit).

    All arrays are C-contiguous.

    Args:
        logits: (N, h, w).
        selection: (K,), the queries that take part, K >= 1.
        scores: (K,), above 0.
        geometry: (8,), coarse, padded, resized and image height and width.

    Returns:
        The codes of the image as runs, a code being 2 * winner + (1 if its sigmoid is below 0.5);
        won (K, 2), pixels by code; boxes (K, 2, 4), x_min, y_min, x_max, y_max by code, exclusive;
        claimed (K,), pixels with sigmoid >= 0.5; finite (K,). If any entry of finite is False, the
        others mean nothing.
    """
    count = len(scores)
    codes, lengths, runs = _room_for_runs(int(geometry[6]) * int(geometry[7]))
    won = np.empty((count, 2), np.int64)
    boxes = np.empty((count, 2, 4), np.int32)
    claimed = np.empty(count, np.int64)
    finite = np.empty(count, np.bool_)
    _call(
        "rmpsam_fuse",
        *(logits, selection, scores, count, geometry, _threads),
        *(codes, lengths, ctypes.byref(runs), won, boxes, claimed, finite),
    )
    return _first_runs(codes, lengths, runs), won, boxes, claimed, finite


def shared_cells(
    logits: NDArray[np.float32], selection: NDArray[np.int32], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count the cells with a logit above 0 that every two queries have in common.

    All arrays are C-contiguous.

    Args:
        logits: (N, h, w).
        selection: (K,), the queries that count.
        size: height and width of the part of the grids that counts, from the top left.

    Returns:
        shared (K, K), of which the diagonal is the area of each query, and finite (K,).
    """
    count = len(selection)
    shared = np.empty((count, count), np.int64)
    finite = np.empty(count, np.bool_)
    _call(
        "rmpsam_shared_cells",
        *(logits, selection, count, *logits.shape[1:], *size, shared, finite),
    )
    return shared, finite


def tidy_runs(
    runs: Runs,
    size: tuple[int, int],
    is_thing: NDArray[np.bool_],
    min_piece: float,
    min_area: int,
    max_speck: int,
    max_hole: int,
) -> tuple[Runs, NDArray[np.int64], NDArray[np.int32]]:
    """Tidy a label map by its connected parts; label 0 is nothing.

    Parts of a thing smaller than ``min_piece`` of its largest part become 0, and so do all
    segments that then have fewer than ``min_area`` pixels. Then parts of stuff of at most
    ``max_speck`` pixels, and of 0 of at most ``max_hole`` pixels, get the label that they share
    the longest border with.

    Args:
        runs: values (R,) and lengths (R,) of the map.
        size: (H, W).
        is_thing: (V,) by label, V above every value; False for label 0.

    Returns:
        The runs of the new map; pixels (V,) and boxes (V, 4), x_min, y_min, x_max, y_max,
        exclusive, by label.
    """
    count = len(is_thing)
    values, lengths, written = _room_for_runs(len(runs[0]) + size[0])
    areas = np.empty(count, np.int64)
    boxes = np.empty((count, 4), np.int32)
    _call(
        "rmpsam_tidy_runs",
        *(*runs, len(runs[0]), *size, is_thing, count, min_piece, min_area, max_speck, max_hole),
        *(values, lengths, ctypes.byref(written), areas, boxes),
    )
    return _first_runs(values, lengths, written), areas, boxes


def relabel_runs(runs: Runs, table: NDArray[np.uint16]) -> Runs:
    """Replace every value of runs by table[value], and join runs that become equal.

    Args:
        runs: values (R,) and lengths (R,).
        table: (V,), V above every value.

    Returns:
        Runs of R entries at most.
    """
    values, lengths, joined = _room_for_runs(len(runs[0]))
    _call(
        "rmpsam_relabel_runs",
        *(*runs, len(runs[0]), table, len(table), values, lengths, ctypes.byref(joined)),
    )
    return _first_runs(values, lengths, joined)


def paint_runs(values: NDArray[Any], lengths: NDArray[np.uint32], out: NDArray[Any]) -> None:
    """Write runs into an array.

    Args:
        values: (R,), one or two bytes each.
        lengths: (R,).
        out: as many entries as the lengths add up to, of the type of the values, C-contiguous.
    """
    _call("rmpsam_paint_runs", values, lengths, len(lengths), values.itemsize, out.size, out)


def _room_for_runs(most: int) -> Room:
    """Return room that is used again by the next call in the same thread.

    New memory of this size would be a page of the largest kind, zeroed for every call.
    """
    kept = getattr(_kept, "room", None)
    if kept is None or len(kept[0]) < most:
        kept = _kept.room = np.empty(most, np.uint16), np.empty(most, np.uint32)
    return *kept, ctypes.c_int64()


def _first_runs(
    values: NDArray[np.uint16], lengths: NDArray[np.uint32], number: ctypes.c_int64
) -> Runs:
    return values[: number.value].copy(), lengths[: number.value].copy()


def binary_mask(
    logits: NDArray[np.float32],
    foreground: NDArray[np.int32],
    background: NDArray[np.int32],
    geometry: NDArray[np.int32],
) -> tuple[NDArray[np.bool_], int, float]:
    """Mask of the pixels that a foreground query claims and no background query claims more.

    A pixel is in the mask where the largest foreground logit is above 0 and not below the largest
    background logit.

    Args:
        logits: (N, h, w).
        foreground: (F,), indices into the logits, F >= 1.
        background: (B,), indices into the logits.
        geometry: (8,), as in `fuse`.

    Returns:
        Mask (H, W), its area in pixels, and the sum over it of the sigmoid of the largest
        foreground logit.

    Raises:
        FloatingPointError: a NaN or infinite logit.
    """
    mask = np.empty((geometry[6], geometry[7]), np.bool_)
    selection = np.concatenate([foreground, background])
    area, probability, finite = ctypes.c_int64(), ctypes.c_double(), ctypes.c_uint8()
    _call(
        "rmpsam_binary_mask",
        *(logits, selection, len(foreground), len(background), geometry, _threads, mask),
        *(ctypes.byref(area), ctypes.byref(probability), ctypes.byref(finite)),
    )
    if not finite.value:
        raise FloatingPointError("mask logits are not finite")
    return mask, area.value, probability.value


def encode_map(values: NDArray[np.uint16]) -> Runs:
    """Run values and run lengths of a map (H, W) in row-major order."""
    ids, lengths, runs = _room_for_runs(values.size)
    _call("rmpsam_encode_map", values, *values.shape, ids, lengths, ctypes.byref(runs))
    return _first_runs(ids, lengths, runs)


def encode_segments(
    runs: Runs, size: tuple[int, int], table: NDArray[np.int32], boxes: NDArray[np.int32]
) -> list[NDArray[np.uint32]]:
    """Alternating counts of each segment of a map of this size (H, W), cropped to its box.

    Args:
        runs: values (R,) and lengths (R,) of the map.
        size: (H, W).
        table: (V,), segment index by map value, -1 for no segment.
        boxes: (S, 4), x_min, y_min, x_max, y_max, exclusive.

    Raises:
        ValueError: a pixel outside the box of its segment, or runs that do not add up to H * W.
    """
    # A run is two counts in each of its rows, and a segment may end with one more.
    counts = np.empty(2 * (len(runs[0]) + size[0]) + len(boxes), np.uint32)
    ends = np.empty(len(boxes), np.int64)
    _call(
        "rmpsam_encode_segments",
        *(*runs, len(runs[0]), *size, table, len(table), boxes, len(boxes), counts, ends),
    )
    starts = [0, *ends[:-1].tolist()] if len(boxes) else []
    return [counts[a:b].copy() for a, b in zip(starts, ends.tolist(), strict=True)]


def encode_mask(
    mask: NDArray[np.bool_],
) -> tuple[tuple[int, int, int, int], NDArray[np.uint32]]:
    """Tight box (x_min, y_min, x_max, y_max) and alternating counts of a mask (H, W)."""
    box = np.empty(4, np.int32)
    counts = np.empty(2 * mask.size + 1, np.uint32)
    written = ctypes.c_int64()
    _call("rmpsam_encode_mask", mask, *mask.shape, box, counts, ctypes.byref(written))
    x_min, y_min, x_max, y_max = box.tolist()
    return (x_min, y_min, x_max, y_max), counts[: written.value].copy()


def normalize(
    image: NDArray[np.uint8],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    padded_size: tuple[int, int],
) -> NDArray[np.float32]:
    """(image - mean) / std of an image (H, W, 3), any strides, as planes (1, 3, h, w).

    mean, std (3,): of the image's own channels. What the image does not cover is zero.
    """
    planes = np.empty((1, 3, *padded_size), np.float32)
    height, width = image.shape[:2]
    _call(
        "rmpsam_normalize",
        *(image, height, width, *image.strides, mean, std, *padded_size, planes),
    )
    return planes


def sign_bits(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """``np.packbits(values > 0, axis=1)`` of a C-contiguous matrix (N, M): (N, ceil(M / 8))."""
    rows, columns = values.shape
    bits = np.empty((rows, -(-columns // 8)), np.uint8)
    _call("rmpsam_sign_bits", values, rows, columns, bits)
    return bits


def tint(
    image: NDArray[np.uint8],
    values: NDArray[np.uint16],
    colors: NDArray[np.uint8],
    opacity: int,
    reach: int,
) -> NDArray[np.uint8]:
    """Lay the colours (labels, 3) of a label map (H, W) over an image (H, W, 3).

    Label 0 leaves the image as it is.

    Args:
        opacity: 0 to 256.
        reach: contour width on each side of a border, pixels, at least 1.
    """
    out = np.empty_like(image)
    height, width = values.shape
    _call(
        "rmpsam_tint",
        *(image, values, height, width, colors, len(colors), opacity, reach, _threads, out),
    )
    return out
