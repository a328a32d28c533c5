"""The result of the panoptic fusion: an id map and its segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.segmentation.run_length import Box, Runs, decode_id_map, encode_id_map


@dataclass(frozen=True, slots=True)
class Segment:
    """One thing, or all pixels of one stuff class.

    Attributes:
        id: value in the id map, from 1.
        score: class probability, 0 to 1.
        area: pixels.
        box: tight (x_min, y_min, x_max, y_max), right and bottom exclusive.
        query: index of its object query; of merged stuff, the one with the largest area, which
            also gives the score.
    """

    id: int
    class_id: int
    is_thing: bool
    score: float
    area: int
    box: Box
    query: int


Value = TypeVar("Value", bound=np.generic)


class PanopticResult:
    """An id map, 0 where there is no segment, and its segments by ascending id.

    The map is held as an array, as run lengths, or as both: each is made from the other when it
    is asked for first.

    Attributes:
        size: (height, width) of the map, pixels.
        segments: by ascending id.
    """

    def __init__(self, id_map: NDArray[np.uint16], segments: tuple[Segment, ...]) -> None:
        """id_map: (H, W) uint16."""
        self.size: tuple[int, int] = (id_map.shape[0], id_map.shape[1])
        self.segments = segments
        self._id_map: NDArray[np.uint16] | None = id_map
        self._runs: Runs | None = None

    @classmethod
    def from_runs(
        cls, runs: Runs, size: tuple[int, int], segments: tuple[Segment, ...]
    ) -> PanopticResult:
        """Make a result from the run lengths of an id map of this size (height, width)."""
        result = cls.__new__(cls)
        result.size, result.segments = size, segments
        result._id_map, result._runs = None, runs
        return result

    @property
    def id_map(self) -> NDArray[np.uint16]:
        """The id of every pixel, (H, W) uint16."""
        if self._id_map is None:
            self._id_map = decode_id_map(*self.runs, *self.size)
        return self._id_map

    @property
    def runs(self) -> Runs:
        """The id map as run lengths, (R,) ids and (R,) lengths, row by row over the image."""
        if self._runs is None:
            assert self._id_map is not None
            self._runs = encode_id_map(self._id_map)
        return self._runs

    def painted(self, table: NDArray[Value], out: NDArray[Value] | None = None) -> NDArray[Value]:
        """An image (H, W) with the entry of ``table`` (uint8 or uint16) for the id of every pixel.

        Args:
            out: (H, W) of the same type, C-contiguous: written to and returned; None: a new array.
        """
        # Runs are long: writing them is twenty times faster than looking every pixel up.
        ids, lengths = self.runs
        image = np.empty(self.size, table.dtype) if out is None else out
        if image.shape != self.size or image.dtype != table.dtype or not image.flags.c_contiguous:
            raise ValueError(
                f"out must be {table.dtype} {self.size}, C-contiguous, got {image.dtype} "
                f"{image.shape}"
            )
        _native.paint_runs(table[ids], lengths, image)
        return image
