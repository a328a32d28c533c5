"""The two multi-head attentions of the network, written for the shapes they meet here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.model.folding import in_turn, linear
from rmpsam_ros.model.pixels import Pixels


class _PackedAttention(nn.Module):
    """Parameters of a multi-head attention with packed query, key and value projections."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)


class QuerySelfAttention(_PackedAttention):
    """Self attention in which objects see all objects and every prompt sees only itself."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.prompt_layer: nn.Linear | None = None

    def forward(self, queries: Tensor, num_objects: int | None) -> Tensor:
        """Return the attention output, without residual, [B, Q, d].

        Equals masked attention over all queries (paper equation 5;
        docs/reference/rmpsam.md, sections 4 and 7).

        Args:
            queries: [B, Q, d], objects first, then prompts.
            num_objects: how many of them are objects; None: all.
        """
        if num_objects is None:
            return self._among_objects(queries)
        if num_objects == 0:
            return self._alone(queries)
        objects, prompts = queries[:, :num_objects], queries[:, num_objects:]
        return torch.cat((self._among_objects(objects), self._alone(prompts)), dim=1)

    def inference_form(self) -> QuerySelfAttention:
        """Compute what a prompt attends to in one product from now on."""
        self.prompt_layer = in_turn(self._value_layer(), self.out_proj)
        return self

    def _among_objects(self, objects: Tensor) -> Tensor:
        dim = objects.shape[-1]
        heads = (3, self.num_heads, dim // self.num_heads)
        packed = F.linear(objects, self.in_proj_weight, self.in_proj_bias).unflatten(-1, heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)  # [B, heads, N, d / heads] each
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def _alone(self, prompts: Tensor) -> Tensor:
        """A softmax over one key is 1: what a prompt attends to is its own value."""
        if self.prompt_layer is not None:
            return self.prompt_layer(prompts)
        dim = prompts.shape[-1]
        weight, bias = self.in_proj_weight[2 * dim :], self.in_proj_bias[2 * dim :]
        return self.out_proj(F.linear(prompts, weight, bias))

    def _value_layer(self) -> nn.Linear:
        dim = self.in_proj_weight.shape[1]
        return linear(
            self.in_proj_weight[2 * dim :].detach(), self.in_proj_bias[2 * dim :].detach()
        )


class PixelCrossAttention(_PackedAttention):
    """Attention of a few queries over all pixels of the feature map."""

    def forward(self, queries: Tensor, pixels: Pixels) -> Tensor:
        """Return the attention output, without residual, [B, K, d].

        Args:
            queries: [B, K, d].
            pixels: keys and values alike.

        Source: docs/reference/rmpsam.md, section 6.
        """
        # With few queries and very many pixels it is far cheaper to carry the query through
        # the key projection than to project every pixel: q.(Wk f) = (Wk^T q).f. The key bias
        # shifts all logits of a query alike and drops out of the softmax.
        dim = queries.shape[-1]
        head_dim = dim // self.num_heads
        to_query, to_key, to_value = self.in_proj_weight.chunk(3)
        query_bias, _, value_bias = self.in_proj_bias.chunk(3)
        query = F.linear(queries, to_query, query_bias) * head_dim**-0.5
        query = query.unflatten(-1, (self.num_heads, head_dim)).transpose(1, 2)  # [B, H, K, d/H]
        carried = query @ to_key.unflatten(0, (self.num_heads, head_dim))  # [B, H, K, d]
        weights = pixels.inner(carried.flatten(1, 2)).softmax(dim=-1)  # [B, H * K, L]
        gathered = pixels.sums(weights).unflatten(1, (self.num_heads, queries.shape[1]))
        value = gathered @ to_value.unflatten(0, (self.num_heads, head_dim)).transpose(1, 2)
        return self.out_proj(value.transpose(1, 2).flatten(2) + value_bias)
