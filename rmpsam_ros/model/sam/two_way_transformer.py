"""SAM's two-way transformer: prompt tokens and image cells look at each other."""

import math
from typing import NamedTuple, cast

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
        self.scale = math.sqrt(heads / inner)
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from queries [A, N, width] to keys and values [B, M, width]."""
        return self.attend(self.queries(query), self.keys(key), self.values(value))

    def queries(self, x: Tensor) -> Tensor:
        """Project and cut into heads: [A, N, width] to [A, heads, N, inner / heads], scaled."""
        queries = self._split(self.q_proj(x)).transpose(1, 2)
        return queries if self.scale == 1 else queries * self.scale

    def keys(self, x: Tensor) -> Tensor:
        """[B, M, width] to [B, heads, inner / heads, M]."""
        return self._split(self.k_proj(x)).permute(0, 2, 3, 1)

    def values(self, x: Tensor) -> Tensor:
        """[B, M, width] to [B, heads, M, inner / heads]."""
        return self._split(self.v_proj(x)).transpose(1, 2)

    def inference_form(self) -> "Attention":
        """Scale the queries by the weights of their projection from now on."""
        with torch.no_grad():
            for parameter in self.q_proj.parameters():
                parameter.mul_(self.scale)
        self.scale = 1.0
        return self

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Output [max(A, B), N, width] of what the methods above give."""
        out = torch.softmax(queries @ keys, dim=-1) @ values
        return cast(Tensor, self.out_proj(out.transpose(1, 2).flatten(2)))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))


class Looks(NamedTuple):
    """What a layer projects of the image alone, as `Attention` cuts it into heads."""

    keys: Tensor
    values: Tensor
    queries: Tensor


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

    def looks(self, image: Tensor, image_position: Tensor | None) -> Looks:
        """Project an image [1 or K, M, width] for the tokens: keys, values and queries."""
        placed = image if image_position is None else image + image_position
        return Looks(
            self.cross_attn_token_to_image.keys(placed),
            self.cross_attn_token_to_image.values(image),
            self.cross_attn_image_to_token.queries(placed),
        )

    def forward(
        self, tokens: Tensor, image: Tensor, token_position: Tensor, looks: Looks
    ) -> tuple[Tensor, Tensor]:
        """Update tokens [K, N, width] and image [1 or K, M, width]; returns both, K of each."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            query = tokens + token_position
            tokens = tokens + self.self_attn(query, query, tokens)
        tokens = self.norm1(tokens)

        look = self.cross_attn_token_to_image
        query = look.queries(tokens + token_position)
        tokens = self.norm2(tokens + look.attend(query, looks.keys, looks.values))
        tokens = self.norm3(tokens + self.mlp(tokens))
        back = self.cross_attn_image_to_token
        keys, values = back.keys(tokens + token_position), back.values(tokens)
        return tokens, self.norm4(image + back.attend(looks.queries, keys, values))


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
        self,
        tokens: Tensor,
        image: Tensor,
        image_position: Tensor | None,
        first_looks: Looks | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens [K, N, width] and image [1 or K, M, width] after looking at each other.

        `image_position` is [1, M, width]; None where the projections add it themselves
        (`sam.inference_form`). `first_looks`: of the first layer, if they are known already. With
        one image for all prompts what does not depend on the prompt is computed once.

        Returns:
            Tokens [K, N, width] and image [K, M, width].
        """
        # The initial tokens serve as their own positions: they carry the prompts' codes.
        token_position = tokens
        for index, module in enumerate(self.layers):
            layer = cast(TwoWayLayer, module)
            known = first_looks if index == 0 else None
            looks = known or layer.looks(image, image_position)
            tokens, image = layer(tokens, image, token_position, looks)
        last = self.final_attn_token_to_image
        placed = image if image_position is None else image + image_position
        tokens = tokens + last(tokens + token_position, placed, image)
        return self.norm_final_attn(tokens), image


class _TokenMlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.lin2(torch.relu(self.lin1(x))))
