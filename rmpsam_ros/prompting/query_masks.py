"""What the object queries of a frame say, small enough to be kept with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.runtime import ObjectOutput
from rmpsam_ros.segmentation.preprocess import Geometry


@dataclass(frozen=True, eq=False, slots=True)
class QueryMasks:
    """Masks of all object queries of one frame, one bit a pixel, made by `pack_queries`.

    Attributes:
        objectness: (N,) float32, probability that the query is any class at all.
        bits: (N, ceil(h * w / 8)) uint8, packed masks over the padded input.
        grid: (h, w).
    """

    objectness: NDArray[np.float32]
    bits: NDArray[np.uint8]
    grid: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.objectness.nbytes + self.bits.nbytes

    def boxes(self, geometry: Geometry, least_objectness: float) -> NDArray[np.float32]:
        """Return boxes around the queries' masks, the surest object first.

        Args:
            geometry: of the frame.
            least_objectness: queries below it are left out, and those with an empty mask.

        Returns:
            (M, 4) float32 x_min, y_min, x_max, y_max, edges, image pixels.
        """
        order = np.argsort(-self.objectness, kind="stable")
        order = order[self.objectness[order] >= least_objectness]
        height, width = self.grid
        masks = np.unpackbits(self.bits[order], axis=1, count=height * width).astype(bool)
        masks = masks.reshape(len(order), height, width)
        # Cells that lie in the padding are no part of the picture.
        cells = np.array(self.grid) / geometry.padded_size * geometry.resized_size
        masks = masks[:, : int(np.ceil(cells[0])), : int(np.ceil(cells[1]))]
        masks = masks[masks.any(axis=(1, 2))]
        if not len(masks):
            return np.zeros((0, 4), np.float32)
        x_min, x_max = _span(masks, axis=1)
        y_min, y_max = _span(masks, axis=2)
        image_height, image_width = geometry.image_size
        scale_x, scale_y = image_width / cells[1], image_height / cells[0]
        boxes = np.stack([x_min * scale_x, y_min * scale_y, x_max * scale_x, y_max * scale_y], 1)
        limits = (image_width, image_height, image_width, image_height)
        return np.minimum(boxes, limits).astype(np.float32)


def pack_queries(output: ObjectOutput) -> QueryMasks:
    """Return what is kept of the object queries: a bit of every mask logit."""
    logits = output.class_logits - output.class_logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    objectness = 1.0 - weights[:, -1] / weights.sum(axis=1)
    masks = output.mask_logits.reshape(len(output.mask_logits), -1) > 0
    grid = (output.mask_logits.shape[1], output.mask_logits.shape[2])
    return QueryMasks(objectness.astype(np.float32), np.packbits(masks, axis=1), grid)


def _span(masks: NDArray[np.bool_], axis: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return first and past-last place with a pixel of every mask, looking along an axis."""
    used = np.asarray(masks.any(axis=axis))
    return used.argmax(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1)
