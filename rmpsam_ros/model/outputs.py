"""Outputs of the network: plain named tuples, so that they unpack, trace and export."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class StageOutput(NamedTuple):
    """Prediction of one decoder stage, for deep supervision.

    Q is the number of queries of the pass (N objects or K prompts).

    Attributes:
        queries: [B, Q, 256], the stage's refined queries.
        mask_logits: [B, Q, h, w], or [B, Q, T, h, w] for tubes.
        class_logits: [B, Q, C + 1], 1000 x cosine, the last column (no object) is 0.
        iou: [B, Q, 1], unbounded (no sigmoid).

    Source: docs/reference/rmpsam.md, sections 4 and 17.
    """

    queries: Tensor
    mask_logits: Tensor
    class_logits: Tensor
    iou: Tensor


class RawObjects(NamedTuple):
    """Objects found in an image or a tube of T frames.

    Attributes:
        class_logits: [B, N, C + 1], 100 x cosine, the last column (no object) is exactly 0.
        mask_logits: [B, N, h, w] with h x w = H/4 x W/4, or [B, N, T, h, w] for tubes.
        queries: [B, N, 256], not negative; the embedding to match between frames.
        iou: [B, N, 1], predicted mask IoU, unbounded.
        stages: one StageOutput per decoder stage if they were asked for, else empty.

    Source: docs/reference/rmpsam.md, sections 6 and 9.
    """

    class_logits: Tensor
    mask_logits: Tensor
    queries: Tensor
    iou: Tensor
    stages: tuple[StageOutput, ...] = ()


class RawPrompts(NamedTuple):
    """Masks of K prompts, class-agnostic and independent of one another.

    Attributes:
        mask_logits: [B, K, h, w] with h x w = H/4 x W/4.
        queries: [B, K, 256].
        iou: [B, K, 1], predicted mask IoU, unbounded.
        stages: one StageOutput per decoder stage if they were asked for, else empty.

    Source: docs/reference/rmpsam.md, section 7.
    """

    mask_logits: Tensor
    queries: Tensor
    iou: Tensor
    stages: tuple[StageOutput, ...] = ()
