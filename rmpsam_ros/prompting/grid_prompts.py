"""Masks of everything in an image, from a promptable model and no click of a person.

Two ways: a grid of points, whose many overlapping masks are filtered (SAM's automatic generator),
or boxes around objects that a detector has found, whose masks need no filtering (MobileSAMv2,
Sec. 4). Nothing here knows which model answers the prompts.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmpsam_ros.model.sam.transforms import (
    MASK_THRESHOLD,
    SamFrame,
    boxes_to_frame,
    logits_to_picture,
    points_to_frame,
)
from rmpsam_ros.segmentation.overlap import distinct_boxes

BOXES_AT_ONCE = 320
POINTS_AT_ONCE = 64
_MASKS_AT_ONCE = 16


class Decode(Protocol):
    """Answers prompts on one image; `functools.partial(model.decode, embedding)` is one."""

    def __call__(
        self,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None = None,
        *,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Logits [K, M, 256, 256] and IoU [K, M] of K prompts in pixels of the model's frame.

        The prompts are on the CPU, the answers may be anywhere.
        """


@dataclass(frozen=True)
class GridFilter:
    """Thresholds for masks of the point grid; the defaults are SAM's.

    Attributes:
        predicted_iou: a mask is kept above it.
        stability: a mask is kept from here on: area at the higher threshold by area at the lower.
        stability_offset: distance of these two thresholds from 0, in logits.
        box_iou: of two masks whose boxes overlap more than this, the one with the higher predicted
            IoU is kept.
    """

    predicted_iou: float = 0.88
    stability: float = 0.95
    stability_offset: float = 1.0
    box_iou: float = 0.7


@dataclass(frozen=True)
class EverythingMasks:
    """N masks of one image with the prompts they came from.

    Attributes:
        masks: (N, H, W) bool.
        boxes: (N, 4), first and last column and row of each mask: x0, y0, x1, y1, zeros if empty.
        predicted_iou: (N,), by the model, not bounded to 0..1.
        prompt: (N,), index of the point of the grid, or of the box, that each mask answers.
        stability: (N,), overlap of the mask with itself at a stricter threshold.
    """

    masks: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    prompt: NDArray[np.int64]
    stability: NDArray[np.float32]


def point_grid(side: int, height: int, width: int) -> NDArray[np.float64]:
    """Centres of side x side equal cells of an image, row by row: [side * side, 2], x first."""
    if side < 1:
        raise ValueError(f"a grid has at least one point per side, got {side}")
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres * width, centres * height)
    return np.stack([x.ravel(), y.ravel()], axis=1)


@torch.inference_mode()
def grid_steps(
    decode: Decode,
    geometry: SamFrame,
    points_per_side: int = 32,
    keep: GridFilter | None = None,
) -> Generator[tuple[int, EverythingMasks], bool | None, EverythingMasks]:
    """Masks of an image from a grid of points, three masks for every point.

    Filtered by predicted IoU, by stability, and by box overlap, the most certain masks first
    (docs/reference/sam_family.md, section 5.1).

    Yields after every few points how many have been asked for, and the masks that have come since,
    not yet compared with others. It may be left for a while there, or ended by sending True: the
    points lie far apart, so that the whole image has been looked at, less densely.
    """
    keep = keep or GridFilter()
    order = _spread(points_per_side**2)
    points = point_grid(points_per_side, *geometry.original)[order]
    candidates = _Candidates(geometry)
    for start in range(0, len(points), POINTS_AT_ONCE):
        part = points_to_frame(points[start : start + POINTS_AT_ONCE, None], geometry)
        labels = torch.ones(part.shape[:2], dtype=torch.int64)
        logits, iou = decode(part, labels, multimask=True)
        good, mask = torch.nonzero(iou > keep.predicted_iou, as_tuple=True)
        prompts = torch.from_numpy(order)[good.cpu() + start]
        before = len(candidates.packed)
        candidates.add(logits[good, mask], iou[good, mask], prompts, keep)
        fresh = candidates.result(np.arange(before, len(candidates.packed)))
        if (yield start + len(part), fresh):
            break
    # Of equally certain ones the first of the grid, however late it was asked for.
    best_first = np.lexsort((np.array(candidates.prompt), -np.array(candidates.iou)))
    boxes = np.array(candidates.boxes).reshape(-1, 4)[best_first]
    return candidates.result(best_first[distinct_boxes(boxes, keep.box_iou)])


def _spread(number: int) -> NDArray[np.int64]:
    """Return 0 to number - 1 in an order in which neighbours come late after one another."""
    stride = next(
        k for k in range(max(1, round(number * 0.618)), number + 1) if math.gcd(k, number) == 1
    )
    return np.arange(number) * stride % number


@torch.inference_mode()
def segment_with_boxes(
    decode: Decode, geometry: SamFrame, boxes: NDArray[np.floating]
) -> EverythingMasks:
    """One mask for each box [N, 4] (x0, y0, x1, y1 in pixels of the image), nothing dropped.

    The masks come in the order of their area, largest first, so that small ones end on top when
    they are painted one after another (docs/reference/sam_family.md, section 5.2).
    """
    candidates = _Candidates(geometry)
    for start in range(0, len(boxes), BOXES_AT_ONCE):
        part = boxes_to_frame(boxes[start : start + BOXES_AT_ONCE], geometry)
        logits, iou = decode(None, None, part, multimask=False)
        candidates.add(logits[:, 0], iou[:, 0], torch.arange(start, start + len(part)), None)
    return candidates.result(np.argsort(-np.array(candidates.areas, np.int64), kind="stable"))


def stability_scores(logits: Tensor, offset: float) -> Tensor:
    """How little masks depend on the threshold: logits [N, H, W] to scores [N] in 0 to 1.

    Area where the logit exceeds the threshold by `offset`, over the area where it falls short by
    no more than that; 0 for an empty mask.
    """
    strict = (logits > MASK_THRESHOLD + offset).sum((1, 2))
    loose = (logits > MASK_THRESHOLD - offset).sum((1, 2))
    return strict / loose.clamp(min=1)


def mask_boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First and last column and row of masks [N, H, W]: [N, 4] as x0, y0, x1, y1.

    Last ones inclusive, as SAM counts; zeros for an empty mask.
    """
    boxes = np.zeros((len(masks), 4), np.int64)
    for axis, (first, last) in ((1, (0, 2)), (2, (1, 3))):
        used: NDArray[np.bool_] = np.asarray(masks.any(axis=axis))
        boxes[:, first] = used.argmax(axis=1)
        boxes[:, last] = used.shape[1] - 1 - used[:, ::-1].argmax(axis=1)
    boxes[~masks.any(axis=(1, 2))] = 0
    return boxes


@dataclass
class _Candidates:
    """Masks seen so far, one bit a pixel: a fine grid can bring hundreds of large ones."""

    geometry: SamFrame
    packed: list[NDArray[np.uint8]] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)
    boxes: list[NDArray[np.int64]] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    stability: list[float] = field(default_factory=list)
    prompt: list[int] = field(default_factory=list)

    def add(self, logits: Tensor, iou: Tensor, prompt: Tensor, keep: GridFilter | None) -> None:
        """Take in low-resolution logits [N, h, w]; with a filter, only those that are stable."""
        offset = (keep or GridFilter()).stability_offset
        for start in range(0, len(logits), _MASKS_AT_ONCE):
            part = slice(start, start + _MASKS_AT_ONCE)
            full = logits_to_picture(logits[part, None], self.geometry)[:, 0]
            stability = stability_scores(full, offset)
            chosen = stability >= (keep.stability if keep else 0.0)
            masks = (full[chosen] > MASK_THRESHOLD).cpu().numpy()
            self.packed += list(np.packbits(masks, axis=-1))
            self.areas += masks.sum(axis=(1, 2)).tolist()
            self.boxes += list(mask_boxes(masks))
            self.iou += iou[part][chosen].tolist()
            self.stability += stability[chosen].tolist()
            self.prompt += prompt[part][chosen.to(prompt.device)].tolist()

    def result(self, order: NDArray[np.int64]) -> EverythingMasks:
        """The chosen masks in this order."""
        height, width = self.geometry.original
        packed = np.array([self.packed[i] for i in order], np.uint8)
        masks = np.unpackbits(
            packed.reshape(len(order), height, -(-width // 8)), axis=-1, count=width
        )
        return EverythingMasks(
            masks.astype(bool),
            np.array(self.boxes, np.int64).reshape(-1, 4)[order],
            np.array(self.iou, np.float32)[order],
            np.array(self.prompt, np.int64)[order],
            np.array(self.stability, np.float32)[order],
        )
