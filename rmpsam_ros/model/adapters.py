"""The asymmetric adapters behind the shared decoder.

Source: paper section 3.1, docs/reference/rmpsam.md, section 6.
"""

from __future__ import annotations

from torch import Tensor, nn

from rmpsam_ros.model.attention import PixelCrossAttention
from rmpsam_ros.model.kernel_update import KernelUpdate, pool_by_mask
from rmpsam_ros.model.pixels import Pixels


class ObjectAdapter(nn.Module):
    """One more mask pooling and gated update for object queries, with its own class layer."""

    def __init__(self, dim: int, text_dim: int, names_from_pixels: bool = False) -> None:
        """``names_from_pixels``: see ``RmpSam``."""
        super().__init__()
        self.kernel_update = KernelUpdate(dim)
        self.class_layer = nn.Linear(dim, text_dim)
        self.name_branch: nn.Sequential | None = None
        if names_from_pixels:
            last = nn.Linear(dim, text_dim)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.name_branch = nn.Sequential(
                nn.LayerNorm(dim), nn.Linear(dim, dim), nn.ReLU(), last
            )

    def forward(
        self, pixels: Pixels, queries: Tensor, mask_logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return adapted queries, [B, N, d], not negative, and class embeddings [B, N, text_dim].

        Args:
            pixels: the features of L pixels.
            queries: [B, N, d] and mask_logits: [B, N, L] of the last stage.
        """
        pooled = pool_by_mask(mask_logits, pixels)
        adapted = self.kernel_update(pooled, queries)
        embeddings = self.class_layer(adapted)
        if self.name_branch is not None:
            embeddings = embeddings + self.name_branch(pooled)
        return adapted, embeddings


class PromptAdapter(nn.Module):
    """Pixel-wise cross attention for prompt queries, which need local detail."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.attention = PixelCrossAttention(dim, num_heads)
        self.norm = nn.LayerNorm(dim)
        self.iou_layer = nn.Linear(dim, 1)

    def forward(self, pixels: Pixels, queries: Tensor) -> Tensor:
        """Return adapted queries, [B, K, d], of queries [B, K, d]."""
        return self.norm(queries + self.attention(queries, pixels))
