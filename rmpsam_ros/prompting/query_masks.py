"""Object queries of a frame, packed small enough to be kept with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.runtime import ObjectOutput
from rmpsam_ros.segmentation.overlap import iou
from rmpsam_ros.segmentation.preprocess import Letterbox

_AGREEMENT = 0.5  # intersection over union of two masks of one object
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)
_MAX_PARTS = 4  # of one query
_MIN_PART = 0.1  # of the largest part's area


@dataclass(frozen=True, eq=False, slots=True)
class QueryMasks:
    """Masks of all object queries of one frame, one bit a pixel, made by `pack_queries`.

    Attributes:
        objectness: (N,) float32, probability that the query is any class at all.
        bits: (N, ceil(h * w / 8)) uint8, packed masks over the padded input.
        grid: (h, w).
        embeddings: (N, D) float32 unit vectors, as the tracker compares queries.
    """

    objectness: NDArray[np.float32]
    bits: NDArray[np.uint8]
    grid: tuple[int, int]
    embeddings: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.objectness.nbytes + self.bits.nbytes + self.embeddings.nbytes

    def agreeing(self, mask: NDArray[np.bool_], geometry: Letterbox) -> NDArray[np.intp]:
        """Return the queries that show the same object as a mask (H, W), best first."""
        cells = np.array(self.grid) / geometry.padded_size * geometry.resized_size
        places = [
            ((np.arange(round(number)) + 0.5) * (side / number)).astype(int).clip(0, side - 1)
            for number, side in zip(cells.tolist(), mask.shape, strict=True)
        ]
        whole = np.zeros(self.grid, np.bool_)
        whole[: len(places[0]), : len(places[1])] = True
        wanted = np.zeros(self.grid, np.bool_)
        wanted[: len(places[0]), : len(places[1])] = mask[np.ix_(*places)]
        area = int(np.count_nonzero(wanted))
        areas = _count_ones(self.bits & np.packbits(whole))
        shared = _count_ones(self.bits & np.packbits(wanted))
        overlap = iou(shared, areas, area)
        order = np.argsort(-overlap, kind="stable")
        return order[overlap[order] >= _AGREEMENT]

    def boxes(self, geometry: Letterbox, min_objectness: float) -> NDArray[np.float32]:
        """Return boxes around the connected parts of the queries' masks, the surest object first.

        A query that claims several objects, or stray cells beside its own, would have a box that
        fits none of them. Small parts beside a larger one are left out.

        Args:
            geometry: of the frame.
            min_objectness: queries below it are left out, and those with an empty mask.

        Returns:
            (M, 4) float32 x_min, y_min, x_max, y_max, edges, image pixels.
        """
        order = np.argsort(-self.objectness, kind="stable")
        order = order[self.objectness[order] >= min_objectness]
        height, width = self.grid
        masks = np.unpackbits(self.bits[order], axis=1, count=height * width)
        masks = masks.reshape(len(order), height, width)
        # Cells that lie in the padding are no part of the image.
        cells = np.array(self.grid) / geometry.padded_size * geometry.resized_size
        masks = masks[:, : int(np.ceil(cells[0])), : int(np.ceil(cells[1]))]
        boxes = np.array([box for mask in masks for box in _part_boxes(mask)], np.float32)
        image_height, image_width = geometry.image_size
        scale = np.tile([image_width / cells[1], image_height / cells[0]], 2)
        limits = (image_width, image_height, image_width, image_height)
        return np.minimum(boxes.reshape(-1, 4) * scale, limits).astype(np.float32)


def pack_queries(output: ObjectOutput, embeddings: NDArray[np.float32]) -> QueryMasks:
    """Return what is kept of the object queries: a bit of every mask logit.

    Args:
        output: of the network, N queries.
        embeddings: (N, D) of these queries, by `tracking.embed_queries`.
    """
    logits = output.class_logits - output.class_logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    objectness = 1.0 - weights[:, -1] / weights.sum(axis=1)
    count, height, width = output.mask_logits.shape
    masks = np.ascontiguousarray(output.mask_logits, np.float32).reshape(count, height * width)
    return QueryMasks(
        objectness.astype(np.float32), _native.sign_bits(masks), (height, width), embeddings
    )


def _count_ones(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of ones in every row of packed bits."""
    if hasattr(np, "bitwise_count"):  # since NumPy 2; a third of the time
        return np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return _ONES[bits].sum(axis=1, dtype=np.int64)


def _part_boxes(mask: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Return x_min, y_min, x_max, y_max of the large connected parts of a mask, largest first."""
    _, _, parts, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask), connectivity=8)
    parts = parts[1:]  # the first is the background
    parts = parts[np.argsort(-parts[:, cv2.CC_STAT_AREA], kind="stable")][:_MAX_PARTS]
    return [
        (x, y, x + width, y + height)
        for x, y, width, height, area in parts.tolist()
        if area >= _MIN_PART * parts[0, cv2.CC_STAT_AREA]
    ]
