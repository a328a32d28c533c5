"""The shared decoder: three stages that refine object and prompt queries.

Source: docs/reference/rmpsam.md, section 4.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor, nn

from rmpsam_ros.model.attention import QuerySelfAttention
from rmpsam_ros.model.kernel_update import KernelUpdate, pool_by_mask
from rmpsam_ros.model.pixels import Pixels


class StagePrediction(NamedTuple):
    """Raw predictions of one stage: queries and class embeddings [B, Q, .], masks [B, Q, L]."""

    queries: Tensor
    mask_logits: Tensor
    class_embeddings: Tensor
    iou: Tensor


class DecoderOutput(NamedTuple):
    """Final queries [B, Q, d]; masks [B, N, L] and IoU [B, N, 1] of the objects; all stages."""

    queries: Tensor
    object_mask_logits: Tensor
    object_iou: Tensor
    stages: tuple[StagePrediction, ...]


class DecoderStage(nn.Module):
    """Mask pooling, gated update, self attention and FFN, then mask, class and IoU branches."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, text_dim: int) -> None:
        super().__init__()
        self.kernel_update = KernelUpdate(dim)
        self.self_attention = QuerySelfAttention(dim, num_heads)
        self.self_attention_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.ReLU(), nn.Linear(ffn_dim, dim))
        self.ffn_norm = nn.LayerNorm(dim)
        self.class_branch = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.LayerNorm(dim), nn.ReLU(), _mlp(dim, text_dim)
        )
        self.mask_branch = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.LayerNorm(dim), nn.ReLU()
        )
        self.mask_kernel = nn.Linear(dim, dim)
        self.iou_branch = _mlp(dim, 1)

    def forward(
        self, pixels: Pixels, queries: Tensor, mask_logits: Tensor, num_objects: int | None
    ) -> Tensor:
        """Return the refined queries, [B, Q, d] (paper equations 1 to 5).

        Args:
            pixels: the features of L pixels.
            queries: [B, Q, d], objects first.
            mask_logits: [B, Q, L], the masks predicted by the stage before.
        """
        pooled = pool_by_mask(mask_logits, pixels)
        updated = self.kernel_update(pooled, queries)
        attended = self.self_attention(updated, num_objects)
        updated = self.self_attention_norm(updated + attended)
        return self.ffn_norm(updated + self.ffn(updated))


class Decoder(nn.Module):
    """Three stages with separate weights, shared by objects and prompts."""

    def __init__(
        self, num_stages: int, dim: int, num_heads: int, ffn_dim: int, text_dim: int
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            DecoderStage(dim, num_heads, ffn_dim, text_dim) for _ in range(num_stages)
        )

    def forward(
        self,
        pixels: Pixels,
        queries: Tensor,
        num_objects: int | None,
        with_stages: bool,
        first_masks: Tensor | None = None,
    ) -> DecoderOutput:
        """Refine the queries.

        Args:
            pixels: the features of L pixels.
            queries: [B, Q, d], the first ``num_objects`` of them objects; None: all.
            first_masks: [B, Q, L], positive where the first stage pools; None: <query, pixel>.
            with_stages: also predict masks, classes and IoU of all queries at every stage. Without
                it only what the adapters need is computed: of the last stage, the objects' masks.
        """
        mask_logits = pixels.inner(queries) if first_masks is None else first_masks
        predictions = []
        for index, module in enumerate(self.stages):
            stage = cast(DecoderStage, module)
            queries = stage(pixels, queries, mask_logits, num_objects)
            is_last = index + 1 == len(self.stages)
            masked = queries[:, :num_objects] if is_last and not with_stages else queries
            mask_features = stage.mask_branch(masked)
            mask_logits = pixels.inner(stage.mask_kernel(mask_features))
            if with_stages:
                iou = stage.iou_branch(mask_features)
                embeddings = stage.class_branch(queries)
                predictions.append(StagePrediction(queries, mask_logits, embeddings, iou))
        object_iou = stage.iou_branch(mask_features[:, :num_objects])
        return DecoderOutput(queries, mask_logits[:, :num_objects], object_iou, tuple(predictions))


def _mlp(dim: int, out_dim: int) -> nn.Sequential:
    """Three linear layers with ReLU between them."""
    return nn.Sequential(
        nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out_dim)
    )
