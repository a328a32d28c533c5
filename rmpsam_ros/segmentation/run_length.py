"""Run lengths: how label maps and masks travel in messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native

Runs = tuple[NDArray[np.uint16], NDArray[np.uint32]]  # values (R,) and lengths (R,)
Box = tuple[int, int, int, int]  # x_min, y_min, x_max, y_max; right and bottom exclusive


class BoxedSegment(Protocol):
    """Anything with an id in a label map and a tight box around it."""

    @property
    def id(self) -> int:
        """Value in the id map, from 1."""
        ...

    @property
    def box(self) -> Box:
        """Tight box of its pixels."""
        ...


@dataclass(frozen=True)
class RunLengthMask:
    """A binary mask, cropped to its tight box.

    Attributes:
        height: of the whole image, pixels.
        width: of the whole image, pixels.
        box: (x_min, y_min, x_max, y_max), right and bottom exclusive.
        counts: (M,) uint32, alternating runs of 0 and 1 over the box in row-major order, zeros
            first (counts[0] may be 0, no other may); they add up to the area of the box. An empty
            mask has the box (0, 0, 0, 0) and no counts.
    """

    height: int
    width: int
    box: Box
    counts: NDArray[np.uint32]

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.counts[1::2].sum(dtype=np.int64))

    def covers(self, x: float, y: float) -> bool:
        """Tell whether the pixel nearest to (x, y), image pixels, belongs to the mask."""
        x_min, y_min, x_max, y_max = self.box
        if not (x_min - 0.5 <= x < x_max - 0.5 and y_min - 0.5 <= y < y_max - 0.5):
            return False  # NaN, too
        column, row = int(np.floor(x + 0.5)) - x_min, int(np.floor(y + 0.5)) - y_min
        ends = np.cumsum(self.counts, dtype=np.int64)
        run = np.searchsorted(ends, row * (x_max - x_min) + column, side="right")
        return bool(run % 2)


def _check_map(name: str, values: NDArray[np.generic], dtype: type[np.generic]) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != dtype:
        got = getattr(values, "dtype", type(values))
        raise ValueError(f"{name} must be a {np.dtype(dtype).name} array, got {got}")
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"{name} must have shape (height, width), got {values.shape}")


def _check_runs(runs: Runs) -> None:
    ids, lengths = runs
    if ids.dtype != np.uint16 or lengths.dtype != np.uint32:
        raise ValueError(f"runs must be uint16 and uint32, got {ids.dtype} and {lengths.dtype}")
    if ids.ndim != 1 or ids.shape != lengths.shape:
        raise ValueError(
            f"ids and lengths must be lists of one length, got {ids.shape} and {lengths.shape}"
        )


def _check_total(lengths: NDArray[np.uint32], height: int, width: int) -> None:
    total = int(lengths.sum(dtype=np.uint64))
    if height < 1 or width < 1 or total != height * width:
        raise ValueError(f"run lengths add up to {total}, not to {height} x {width} pixels")


def encode_id_map(id_map: NDArray[np.uint16]) -> Runs:
    """Run lengths of a whole id map in row-major order; a run may continue in the next row.

    Args:
        id_map: (H, W) uint16.

    Returns:
        The values (R,) uint16 and the lengths (R,) uint32 of the runs; the lengths add up to H *
        W, neighbouring values differ.

    Raises:
        ValueError: another dtype or shape.
    """
    _check_map("id_map", id_map, np.uint16)
    return _native.encode_map(np.ascontiguousarray(id_map))


def decode_id_map(
    ids: NDArray[np.uint16], lengths: NDArray[np.uint32], height: int, width: int
) -> NDArray[np.uint16]:
    """Inverse of `encode_id_map`: the id map (height, width) uint16.

    Raises:
        ValueError: ids and lengths differ in number or the lengths do not add up to height *
            width.
    """
    ids, lengths = np.asarray(ids, np.uint16), np.asarray(lengths, np.uint32)
    _check_runs((ids, lengths))
    _check_total(lengths, height, width)
    id_map = np.empty((height, width), np.uint16)
    _native.paint_runs(np.ascontiguousarray(ids), np.ascontiguousarray(lengths), id_map)
    return id_map


def encode_mask(mask: NDArray[np.bool_], box: Box | None = None) -> RunLengthMask:
    """Run lengths of a binary mask, cropped to its tight box.

    Args:
        mask: (H, W) bool.
        box: where the mask can be (x_min, y_min, x_max, y_max), to save the search; the result is
            cropped to the tight box inside it.

    Raises:
        ValueError: another dtype or shape, or a box outside the image.
    """
    _check_map("mask", mask, np.bool_)
    height, width = mask.shape
    left, top, right, bottom = (0, 0, width, height) if box is None else box
    if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
        raise ValueError(f"box {box} does not lie inside the {width} x {height} image")
    part = mask[top:bottom, left:right]
    if part.size == 0:
        return RunLengthMask(height, width, (0, 0, 0, 0), np.empty(0, np.uint32))
    (x_min, y_min, x_max, y_max), counts = _native.encode_mask(np.ascontiguousarray(part))
    if counts.size == 0:
        return RunLengthMask(height, width, (0, 0, 0, 0), counts)
    tight = (left + x_min, top + y_min, left + x_max, top + y_max)
    return RunLengthMask(height, width, tight, counts)


def mask_of_message(message: Any) -> RunLengthMask:
    """Return the run lengths of a ``rmpsam_ros/RunLengthMask`` message, for `decode_mask`."""
    box = message.box
    x_min, y_min = int(box.x_offset), int(box.y_offset)
    return RunLengthMask(
        int(message.height),
        int(message.width),
        (x_min, y_min, x_min + int(box.width), y_min + int(box.height)),
        np.asarray(message.counts, np.uint32),
    )


def decode_mask(mask: RunLengthMask) -> NDArray[np.bool_]:
    """Inverse of `encode_mask`: the mask (height, width) bool.

    Raises:
        ValueError: the box leaves the image or the counts do not add up to its area.
    """
    x_min, y_min, x_max, y_max = mask.box
    if not (0 <= x_min <= x_max <= mask.width and 0 <= y_min <= y_max <= mask.height):
        raise ValueError(f"box {mask.box} leaves the {mask.width} x {mask.height} image")
    total = int(np.sum(mask.counts, dtype=np.uint64))
    if total != (x_max - x_min) * (y_max - y_min):
        raise ValueError(f"counts add up to {total}, which is not the area of box {mask.box}")
    full = np.zeros((mask.height, mask.width), np.bool_)
    values = np.arange(len(mask.counts)) % 2 == 1
    full[y_min:y_max, x_min:x_max] = np.repeat(values, mask.counts).reshape(
        y_max - y_min, x_max - x_min
    )
    return full


def encode_segments(
    runs: Runs, size: tuple[int, int], segments: Sequence[BoxedSegment]
) -> list[RunLengthMask]:
    """Run lengths of the mask of each segment, in the order given, in one pass over the runs.

    Args:
        runs: the id map as `encode_id_map` gives it.
        size: its (height, width).
        segments: each with a unique `id` >= 1 and the tight `box` of its pixels.

    Raises:
        ValueError: another dtype, runs that do not add up to the size, a repeated id, a box
            outside the image, or a pixel outside the box of its segment.
    """
    height, width = size
    _check_runs(runs)
    runs = np.ascontiguousarray(runs[0]), np.ascontiguousarray(runs[1])
    ids = [segment.id for segment in segments]
    if len(set(ids)) < len(ids) or not all(1 <= identifier <= 65535 for identifier in ids):
        raise ValueError(f"segment ids must be unique and from 1 to 65535, got {ids}")
    boxes = [segment.box for segment in segments]
    for left, top, right, bottom in boxes:
        if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
            raise ValueError(f"a segment's box does not lie inside the {width} x {height} image")
    table = np.full(max(ids, default=0) + 1, -1, np.int32)
    table[ids] = np.arange(len(ids), dtype=np.int32)
    try:
        counts = _native.encode_segments(
            runs, size, table, np.array(boxes, np.int32).reshape(-1, 4)
        )
    except ValueError:
        _check_total(runs[1], height, width)
        raise ValueError("the id map has a pixel outside the box of its segment") from None
    return [
        RunLengthMask(
            height, width, segment.box if mask_counts.size else (0, 0, 0, 0), mask_counts
        )
        for segment, mask_counts in zip(segments, counts, strict=True)
    ]
