"""The SAM family as it is executed: the same function, in an order that costs less on every click.

- What the first layer projects of the image is computed behind the encoder and kept with the
  frame; a mask prompt only adds to it, by linearity.
- Positions of the image's cells are part of the projections' biases.
- Features are [cells, channels] while they grow, so that a transposed convolution without overlap
  is one matrix product; cells go to their places as late as possible.
- With feature fusion, the last convolution is contracted with the mask's kernel before it is
  applied, which leaves one channel instead of 32.
"""

from __future__ import annotations

import copy
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmpsam_ros.model.inference_form import (
    InferenceForm,
    Part,
    Shapes,
    channels_last,
    convert,
    exact_copy,
)
from rmpsam_ros.model.sam.layers import LayerNorm2d, Mlp
from rmpsam_ros.model.sam.mask_decoder import FeatureFusion, MaskDecoder
from rmpsam_ros.model.sam.prompt_encoder import PromptEncoder
from rmpsam_ros.model.sam.two_way_transformer import Attention, Looks, TwoWayLayer

GRID = 64  # cells of the image along each side
IMAGE_SIZE = 16 * GRID
MASK_SIZE = 4 * GRID


class Model(Protocol):
    """What is needed of a `PromptModel`."""

    image_encoder: nn.Module
    prompt_encoder: PromptEncoder
    mask_decoder: MaskDecoder


def inference_form(model: nn.Module, compute: torch.dtype) -> InferenceForm:
    """The inference form of a `PromptModel`; see its method of this name.

    All inputs and outputs are float32; K is the number of prompts, N of points of each:

    - encoder: `image` [1, 3, 1024, 1024], as `transforms.preprocess` gives it, to what the
      decoder needs of it: `cells` [1, 4096, 256], the features with what stands for "no mask
      prompt" added; `keys` [1, 8, 16, 4096], `values` and `queries` [1, 8, 4096, 16], what the
      first layer projects of them; `high_res` [1, 64, 256, 256] for models with feature fusion;
    - decoder: these, and `points` [K, N, 2] and `labels` [K, N] as `join_prompts` gives them,
      `mask_input` [K, 1, 256, 256], which counts where `has_mask` [K] is 1 and not where it is 0,
      to `logits` [K, M, 256, 256] and `iou` [K, M]: the single mask, then, where the model has
      them, the three of an ambiguous prompt.
    """
    form, dtype = exact_copy(model)
    network = SamForm(cast(Model, form)).to(dtype).requires_grad_(False)
    convert(network.image_encoder, compute)
    if network.fusion_image is not None:
        convert(network.fusion_image, compute)
    network.compute = compute
    return InferenceForm(network, _parts(channels_last(network)))


def _parts(network: SamForm) -> dict[str, Part]:
    masks = network.num_masks
    attention = network.decoder.transformer.final_attn_token_to_image
    heads, width = attention.heads, attention.q_proj.in_features
    depth = attention.out_proj.in_features // heads
    kept: dict[str, tuple[int | str, ...]] = {
        "cells": (1, GRID**2, width),
        "keys": (1, heads, depth, GRID**2),
        "values": (1, heads, GRID**2, depth),
        "queries": (1, heads, GRID**2, depth),
    }
    if network.fusion_image is not None:
        kept["high_res"] = (1, 64, MASK_SIZE, MASK_SIZE)
    prompts: Shapes = {
        "points": ("prompts", "points", 2),
        "labels": ("prompts", "points"),
        "mask_input": ("prompts", 1, MASK_SIZE, MASK_SIZE),
        "has_mask": ("prompts",),
    }
    answers: Shapes = {
        "logits": ("prompts", masks, MASK_SIZE, MASK_SIZE),
        "iou": ("prompts", masks),
    }
    body = ("image_encoder", "fusion_image")
    image: Shapes = {"image": (1, 3, IMAGE_SIZE, IMAGE_SIZE)}
    return {
        "encoder": Part(network, SamForm.encode, image, kept),
        "decoder": Part(network, SamForm.decode, {**kept, **prompts}, answers, unused=body),
    }


class SamForm(nn.Module):
    """Encoder and decoder of one model; K prompts, T tokens, L = 64 * 64 cells."""

    no_mask: Tensor

    def __init__(self, model: Model) -> None:
        """Take over the parts of a model, in float64."""
        super().__init__()
        self.compute = torch.float32
        self.image_encoder = model.image_encoder
        self.prompts = model.prompt_encoder
        self.decoder = model.mask_decoder
        fusion, self.decoder.fusion = self.decoder.fusion, None
        self.fusion_image = copy.deepcopy(fusion)
        self.masks = Masks(self.decoder) if fusion is None else FusedMasks(self.decoder, fusion)
        self.kernels = StackedMlp(
            [cast(Mlp, mlp) for mlp in self.decoder.output_hypernetworks_mlps]
        )
        del self.decoder.output_hypernetworks_mlps, self.decoder.output_upscaling
        position = self.prompts.image_position().flatten(2).transpose(1, 2)[0]
        self.register_buffer("no_mask", self.prompts.without_mask().reshape(-1), persistent=False)
        transformer = self.decoder.transformer
        self.mask_change = MaskChange(
            self.prompts.mask_downscaling, self.no_mask, cast(TwoWayLayer, transformer.layers[0])
        )
        del self.prompts.mask_downscaling
        for module in transformer.layers:
            layer = cast(TwoWayLayer, module)
            _place(layer.cross_attn_token_to_image, "k_proj", position)
            _place(layer.cross_attn_image_to_token, "q_proj", position)
        _place(transformer.final_attn_token_to_image, "k_proj", position)

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        """What is kept of an image [1, 3, 1024, 1024]."""
        maps = self.image_encoder(image.to(self.compute))
        features, *fine = (maps,) if isinstance(maps, Tensor) else maps
        cells = features.flatten(2).transpose(1, 2).to(self.no_mask.dtype) + self.no_mask
        looks = self._first_layer.looks(cells, None)
        if self.fusion_image is None:
            return (cells, *looks)
        return (cells, *looks, self.fusion_image.image_part(*fine).to(cells.dtype))

    def decode(
        self, cells: Tensor, keys: Tensor, values: Tensor, queries: Tensor, *others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits [K, M, 256, 256] and IoU [K, M] of prompts on an image."""
        *high_res, points, labels, mask_input, has_mask = others
        cells, looks = self.mask_change(cells, Looks(keys, values, queries), mask_input, has_mask)
        decoder = self.decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight[: self.num_masks]])
        prompts = self.prompts(points, labels)
        tokens = torch.cat([own.expand(prompts.shape[0], -1, -1), prompts], dim=1)
        tokens, cells = decoder.transformer(tokens, cells, None, looks)
        kernels = self.kernels(tokens[:, 1 : 1 + self.num_masks])  # [K, 32, M]
        iou = decoder.iou_prediction_head(tokens[:, 0])[:, : self.num_masks]
        return self.masks(cells, kernels, *high_res), iou

    @property
    def num_masks(self) -> int:
        """M."""
        return self.kernels.count

    @property
    def _first_layer(self) -> TwoWayLayer:
        return cast(TwoWayLayer, self.decoder.transformer.layers[0])


class PlacedLinear(nn.Module):
    """A projection of cells [K, L, in] with their positions in its biases."""

    def __init__(self, linear: nn.Linear, position: Tensor) -> None:
        """`position` [L, in] is what was added to the cells before."""
        super().__init__()
        self.weight = linear.weight
        self.table = nn.Parameter(functional.linear(position, linear.weight, linear.bias))

    def forward(self, cells: Tensor) -> Tensor:
        """[K, L, out]."""
        return functional.linear(cells, self.weight) + self.table


def _place(attention: Attention, name: str, position: Tensor) -> None:
    linear = cast(nn.Linear, getattr(attention, name))
    setattr(attention, name, PlacedLinear(linear, position))


class MaskChange(nn.Module):
    """What a mask prompt adds to the cells and to what was projected of them.

    A mask becomes 16 numbers for every cell, and a 17th, one, which takes the place of "no mask
    prompt"; the change is linear in them.
    """

    cells: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor

    def __init__(self, downscaling: nn.Sequential, no_mask: Tensor, layer: TwoWayLayer) -> None:
        super().__init__()
        last = cast(nn.Conv2d, downscaling[-1])
        assert last.bias is not None
        self.downscaling = downscaling[:-1]
        change = torch.cat((last.weight[:, :, 0, 0].T, (last.bias - no_mask)[None]))  # [17, 256]
        tokens_look, back = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        projections = (tokens_look.k_proj, tokens_look.v_proj, back.q_proj)
        keys, values, queries = (
            (change @ linear.weight.T).unflatten(-1, (tokens_look.heads, -1)).transpose(0, 1)
            for linear in projections
        )  # [heads, 17, depth] each
        self.register_buffer("cells", change, persistent=False)
        self.register_buffer("keys", keys.transpose(1, 2).contiguous(), persistent=False)
        self.register_buffer("values", values.contiguous(), persistent=False)
        self.register_buffer("queries", queries.contiguous(), persistent=False)

    def forward(
        self, cells: Tensor, looks: Looks, mask_input: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Looks]:
        """Cells [K, L, 256] and looks of every prompt."""
        share = has_mask.reshape(-1, 1, 1)
        shares = self.downscaling(mask_input).flatten(2)  # [K, 16, L]
        rows = torch.cat((shares * share, share.expand(-1, 1, shares.shape[2])), dim=1)
        across = rows.transpose(1, 2)
        changed = Looks(
            looks.keys + self.keys @ rows.unsqueeze(1),
            looks.values + across.unsqueeze(1) @ self.values,
            looks.queries + across.unsqueeze(1) @ self.queries,
        )
        return cells + across @ self.cells, changed


class StackedMlp(nn.Module):
    """The hypernetworks of all masks side by side."""

    def __init__(self, networks: list[Mlp]) -> None:
        super().__init__()
        self.count = len(networks)
        layers = list(zip(*(network.layers for network in networks), strict=True))
        self.weights = nn.ParameterList(
            torch.stack([cast(Tensor, linear.weight).T for linear in layer]) for layer in layers
        )
        self.biases = nn.ParameterList(
            torch.stack([cast(Tensor, linear.bias) for linear in layer]).unsqueeze(1)
            for layer in layers
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Kernels [K, 32, M] of mask tokens [K, M, 256]."""
        x = tokens.unsqueeze(2)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = (functional.relu(x) if index else x) @ weight + bias
        return x.squeeze(2).transpose(1, 2)


class Growth(nn.Module):
    """A transposed convolution 2x2 of stride 2: [K, C, in] to [K, 4 * C, out].

    The four pixels of a cell follow one another.
    """

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.width = conv.out_channels
        matrix = conv.weight.permute(0, 2, 3, 1).reshape(conv.in_channels, -1)
        self.matrix = nn.Parameter(matrix)
        self.bias = nn.Parameter(cast(Tensor, conv.bias).repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        """[K, 4 * C, out]."""
        return (x @ self.matrix + self.bias).reshape(x.shape[0], -1, self.width)


class Masks(nn.Module):
    """The end of a decoder without feature fusion: cells and kernels to logits."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        first, norm, _, second, _ = decoder.output_upscaling
        self.first = Growth(cast(nn.ConvTranspose2d, first))
        self.second = Growth(cast(nn.ConvTranspose2d, second))
        self.norm = _over_last_axis(cast(LayerNorm2d, norm))

    def forward(self, cells: Tensor, kernels: Tensor) -> Tensor:
        """Logits [K, M, 256, 256] of cells [K, L, 256] and kernels [K, 32, M]."""
        x = functional.gelu(self.norm(self.first(cells)))
        masks = functional.gelu(self.second(x)) @ kernels  # [K, 256 * 256, M]
        # Pixels lie in blocks of 2 x 2 of 2 x 2 in every cell: masks are few, move those.
        count = masks.shape[2]
        masks = masks.reshape(-1, GRID, GRID, 2, 2, 2, 2, count)
        masks = masks.permute(0, 7, 1, 3, 5, 2, 4, 6)
        return masks.reshape(-1, count, MASK_SIZE, MASK_SIZE)


class FusedMasks(Masks):
    """The end of a decoder with feature fusion, which gives one mask."""

    def __init__(self, decoder: MaskDecoder, fusion: FeatureFusion) -> None:
        """Raises ValueError for a decoder of several masks."""
        super().__init__(decoder)
        if decoder.num_masks != 1:
            raise ValueError(f"feature fusion is known with one mask, not {decoder.num_masks}")
        mix, norm, _, last = fusion.mix_feat_proj
        mix, last = cast(nn.Conv2d, mix), cast(nn.Conv2d, last)
        self.width = last.out_channels
        self.mix = nn.Parameter(mix.weight[:, : self.width].clone())
        self.mix_norm = _over_last_axis(cast(LayerNorm2d, norm))
        self.taps = nn.Parameter(last.weight.reshape(self.width, -1))  # [32, 64 * 9]
        self.offset = nn.Parameter(cast(Tensor, last.bias).reshape(-1, 1))
        self.gather = nn.Parameter(torch.eye(9).to(last.weight).reshape(1, 9, 3, 3))

    def forward(self, cells: Tensor, kernels: Tensor, *high_res: Tensor) -> Tensor:
        """Logits [K, 1, 256, 256], with the image's share of the fusion [1, 64, 256, 256]."""
        (image_part,) = high_res
        x = functional.gelu(self.norm(self.first(cells)))
        x = functional.gelu(self.second(_in_rows(x, GRID)))
        x = _in_rows(x, 2 * GRID)  # [K, 256 * 256, 32]
        row = kernels.transpose(1, 2)  # [K, 1, 32]
        plain = x @ kernels + row @ self.offset
        maps = x.transpose(1, 2).reshape(-1, self.width, MASK_SIZE, MASK_SIZE)
        mixed = functional.conv2d(maps, self.mix, padding=1) + image_part
        mixed = functional.gelu(self.mix_norm(mixed.flatten(2).transpose(1, 2)))
        # The last convolution seen by the kernel: one value for each neighbour.
        taps = (row @ self.taps).reshape(-1, mixed.shape[2], 9)
        shares = (mixed @ taps).transpose(1, 2).reshape(-1, 9, MASK_SIZE, MASK_SIZE)
        fused = functional.conv2d(shares, self.gather, padding=1)
        return fused + plain.reshape(-1, 1, MASK_SIZE, MASK_SIZE)


def _in_rows(x: Tensor, side: int) -> Tensor:
    """Move the four pixels of every cell of a square map [K, side * side * 4, C] to their rows."""
    channels = x.shape[2]
    x = x.reshape(-1, side, side, 2, 2, channels).transpose(2, 3)
    return x.reshape(-1, 4 * side**2, channels)


def _over_last_axis(norm: LayerNorm2d) -> nn.LayerNorm:
    """The same normalisation where channels are the last axis."""
    same = nn.LayerNorm(norm.weight.shape[0], eps=norm.eps, dtype=norm.weight.dtype)
    same.weight, same.bias = norm.weight, norm.bias
    return same
