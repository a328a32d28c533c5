"""SAM's two-way transformer: prompt tokens and image cells look at each other."""

import math
from typing import cast

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the token width.

    Queries [A, N, width], keys and values [B, M, width]; A and B are equal, or one of them is 1
    and is shared. Output [max(A, B), N, width].
    """

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from queries [A, N, width] to keys and values [B, M, width]."""
        q = self._split(self.q_proj(query))  # [A, heads, N, inner / heads]
        k = self._split(self.k_proj(key))
        v = self._split(self.v_proj(value))
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
        out = (weights @ v).transpose(1, 2).flatten(2)
        return cast(Tensor, self.out_proj(out))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class TwoWayLayer(nn.Module):
    """Token self-attention, tokens to image, MLP on the tokens, image to tokens; post-norm.

    The first layer's self-attention replaces the tokens and uses no positions.
    """

    def __init__(self, width: int, heads: int, hidden: int, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _TokenMlp(width, hidden)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, width // 2)

    def forward(
        self, tokens: Tensor, image: Tensor, token_position: Tensor, image_position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens [K, N, width] and image [1 or K, M, width]; returns both, K of each."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            query = tokens + token_position
            tokens = tokens + self.self_attn(query, query, tokens)
        tokens = self.norm1(tokens)

        image_key = image + image_position
        tokens = tokens + self.cross_attn_token_to_image(tokens + token_position, image_key, image)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(image_key, tokens + token_position, tokens)
        return tokens, self.norm4(image)


class TwoWayTransformer(nn.Module):
    """Two layers and a last look of the tokens at the image."""

    def __init__(
        self, width: int = 256, heads: int = 8, hidden: int = 2048, depth: int = 2
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(width, heads, hidden, is_first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, image: Tensor, image_position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens [K, N, width] and image [1 or K, M, width] after looking at each other.

        `image_position` is [1, M, width]. With one image for all prompts what does not depend on
        the prompt is computed once.

        Returns:
            Tokens [K, N, width] and image [K, M, width].
        """
        # The initial tokens serve as their own positions: they carry the prompts' codes.
        token_position = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_position, image_position)
        tokens = tokens + self.final_attn_token_to_image(
            tokens + token_position, image + image_position, image
        )
        return self.norm_final_attn(tokens), image


class _TokenMlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.lin2(torch.relu(self.lin1(x))))
