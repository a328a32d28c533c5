"""Hard-mask pooling and the gated query update ("dynamic convolution" of the paper)."""

from __future__ import annotations

from torch import Tensor, nn

from rmpsam_ros.model.folding import stacked
from rmpsam_ros.model.pixels import Pixels


def pool_by_mask(mask_logits: Tensor, pixels: Pixels) -> Tensor:
    """Sum the features inside every query's mask (paper equations 1 and 2).

    Args:
        mask_logits: [B, Q, L].
        pixels: L pixels of one image or of all frames of a tube.

    Returns:
        [B, Q, d], not divided by the area; zero for an empty mask. The mask is binarised, so no
        gradient reaches the logits (docs/reference/rmpsam.md, section 4, item 1).
    """
    # sigmoid(m) > 0.5 without the sigmoid; they differ only for 0 < m < 1e-7 in float32.
    return pixels.sums((mask_logits > 0).to(pixels.values.dtype))


class KernelUpdate(nn.Module):
    """Update queries with their pooled features through two gates (paper equations 3 and 4).

    Both gates look at the product of a projection of the features and one of the query
    (docs/reference/rmpsam.md, section 4, item 2; docs/reference/rmpsam.md, section 18, rows 2
    and 3).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dynamic_layer = nn.Linear(dim, 2 * dim)
        self.input_layer = nn.Linear(dim, 2 * dim)
        self.input_gate = nn.Linear(dim, dim)
        self.update_gate = nn.Linear(dim, dim)
        self.both_gates: nn.Linear | None = None
        self.norm_in = nn.LayerNorm(dim)
        self.norm_out = nn.LayerNorm(dim)
        self.input_norm_in = nn.LayerNorm(dim)
        self.input_norm_out = nn.LayerNorm(dim)
        self.fc_layer = nn.Linear(dim, dim)
        self.fc_norm = nn.LayerNorm(dim)

    def forward(self, pooled: Tensor, queries: Tensor) -> Tensor:
        """Return the updated queries, [B, Q, d], not negative, of two [B, Q, d] inputs."""
        feature_in, feature_out = self.dynamic_layer(pooled).chunk(2, dim=-1)
        query_in, query_out = self.input_layer(queries).chunk(2, dim=-1)
        query_gate, feature_gate = self._gates(query_in * feature_in)
        query_gate = self.input_norm_in(query_gate).sigmoid()
        feature_gate = self.norm_in(feature_gate).sigmoid()
        mixed = feature_gate * self.norm_out(feature_out)
        mixed = mixed + query_gate * self.input_norm_out(query_out)
        return self.fc_norm(self.fc_layer(mixed)).relu()

    def inference_form(self) -> KernelUpdate:
        """Compute both gates in one product from now on."""
        self.both_gates = stacked(self.input_gate, self.update_gate)
        del self.input_gate, self.update_gate
        return self

    def _gates(self, joint: Tensor) -> tuple[Tensor, ...]:
        if self.both_gates is None:
            return self.input_gate(joint), self.update_gate(joint)
        return self.both_gates(joint).chunk(2, dim=-1)
