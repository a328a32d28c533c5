"""The two multi-head attentions of the network, written for the shapes they meet here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    def forward(self, queries: Tensor, num_objects: int) -> Tensor:
        """Return the attention output, without residual, [B, Q, d].

        Equals masked attention over all queries (paper equation 5;
        docs/reference/rmpsam.md, sections 4 and 7).

        Args:
            queries: [B, Q, d], objects first, then prompts.
            num_objects: how many of them are objects.
        """
        dim = queries.shape[-1]
        objects, prompts = queries[:, :num_objects], queries[:, num_objects:]
        # A softmax over one key is 1: what a prompt attends to is its own value.
        weight, bias = self.in_proj_weight[2 * dim :], self.in_proj_bias[2 * dim :]
        if num_objects == 0:
            return self.out_proj(F.linear(prompts, weight, bias))
        heads = (3, self.num_heads, dim // self.num_heads)
        packed = F.linear(objects, self.in_proj_weight, self.in_proj_bias).unflatten(-1, heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)  # [B, heads, N, d / heads] each
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        if num_objects < queries.shape[1]:
            attended = torch.cat((attended, F.linear(prompts, weight, bias)), dim=1)
        return self.out_proj(attended)


class PixelCrossAttention(_PackedAttention):
    """Attention of a few queries over all pixels of the feature map."""

    def forward(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """Return the attention output, without residual, [B, K, d].

        Args:
            queries: [B, K, d].
            pixels: [B, d, L], keys and values alike.

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
        weights = (carried.flatten(1, 2) @ pixels).softmax(dim=-1)  # [B, H * K, L]
        gathered = weights @ pixels.transpose(1, 2)  # [B, H * K, d]
        gathered = gathered.unflatten(1, (self.num_heads, -1))
        value = gathered @ to_value.unflatten(0, (self.num_heads, head_dim)).transpose(1, 2)
        return self.out_proj(value.transpose(1, 2).flatten(2) + value_bias)
