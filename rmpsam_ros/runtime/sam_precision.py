"""Compares an engine of the SAM family with fp32 PyTorch, by the answers to prompts on frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmpsam_ros.model.sam import transforms
from rmpsam_ros.runtime.precision import stored_frames
from rmpsam_ros.runtime.sam_engine import SamEngine

CLICKS = 3  # along each side of a frame
BOX_SIDES = (0.3, 0.8)  # of boxes around the middle, relative to the frame


@dataclass(frozen=True, slots=True)
class SamAgreement:
    """How well an engine agrees with fp32 PyTorch; 1 is perfect.

    Attributes:
        frames, masks: how many were compared.
        mask_iou: mean intersection over union of the masks of the same prompt.
        least_mask_iou: of the worst mask.
        score_error: mean difference of the predicted quality; 0 is perfect.
    """

    frames: int
    masks: int
    mask_iou: float
    least_mask_iou: float
    score_error: float

    def __str__(self) -> str:
        return (
            f"mask IoU {self.mask_iou:.4f} (least {self.least_mask_iou:.4f}), score error "
            f"{self.score_error:.4f} over {self.masks} masks of {self.frames} frames"
        )


def sam_shortcomings(agreement: SamAgreement, precision: str) -> str:
    """Return where an engine of this precision is too far off; '' if it is good enough."""
    iou, error = (0.99, 0.01) if precision == "fp32" else (0.95, 0.05)
    found = []
    # Written so that NaN counts as too far off.
    if not agreement.mask_iou >= iou:
        found.append(f"mask_iou {agreement.mask_iou:.4f} (at least {iou})")
    if not agreement.score_error <= error:
        found.append(f"score_error {agreement.score_error:.4f} (at most {error})")
    return ", ".join(found)


def compare_sam(engine: SamEngine, reference: SamEngine, count: int) -> SamAgreement:
    """Ask both engines the same clicks and boxes on ``count`` of the stored frames."""
    ious: list[float] = []
    errors: list[float] = []
    for frame in stored_frames()[:count]:
        image, geometry = transforms.preprocess(np.ascontiguousarray(frame[..., ::-1]))
        own, expected = engine.encode(image), reference.encode(image)
        for prompt in _prompts(geometry, reference.supports_multimask):
            logits, iou = (tensor.cpu() for tensor in engine.decode(own, **prompt))
            right, right_iou = (tensor.cpu() for tensor in reference.decode(expected, **prompt))
            ious += _mask_ious(logits > 0, right > 0).tolist()
            errors += (iou - right_iou).abs().flatten().tolist()
    return SamAgreement(
        count, len(ious), float(np.mean(ious)), float(np.min(ious)), float(np.mean(errors))
    )


def _prompts(geometry: transforms.SamFrame, multimask: bool) -> Iterator[dict[str, Any]]:
    """Clicks on a grid, all their masks, and boxes around the middle with a click in it."""
    height, width = geometry.original
    places = (np.arange(CLICKS) + 0.5) / CLICKS
    x, y = np.meshgrid(places * width, places * height)
    points = transforms.points_to_frame(np.stack([x.ravel(), y.ravel()], 1)[:, None], geometry)
    labels = torch.ones(points.shape[:2], dtype=torch.int64)
    yield {"points": points, "labels": labels, "multimask": multimask}
    size = np.array([width, height])
    boxes = np.stack([np.r_[size - side * size, size + side * size] / 2 for side in BOX_SIDES])
    middle = transforms.points_to_frame(np.tile(size / 2, (len(boxes), 1, 1)), geometry)
    yield {
        "points": middle,
        "labels": labels[: len(boxes)],
        "boxes": transforms.boxes_to_frame(boxes, geometry),
    }


def _mask_ious(actual: Tensor, expected: Tensor) -> Tensor:
    """IoU of masks [K, M, h, w], flat; two empty masks agree fully."""
    both = (actual & expected).sum((2, 3)).flatten().double()
    either = (actual | expected).sum((2, 3)).flatten().double()
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))
