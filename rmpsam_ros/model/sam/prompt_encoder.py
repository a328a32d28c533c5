"""SAM's prompt encoder: points, boxes and earlier masks become embeddings."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmpsam_ros.model.sam.layers import LayerNorm2d

PADDING, BACKGROUND, FOREGROUND, BOX_FIRST, BOX_SECOND = -1, 0, 1, 2, 3
"""Meaning of a label: no point at all, the two clicks, and the two corners of a box."""


class PositionCode(nn.Module):
    """Random Fourier features of a position.

    Input [..., 2], x first, in 0 to 1 over the frame; output [..., 2 * frequencies]: sines of the
    position seen by every frequency, then cosines.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, frequencies))

    def forward(self, position: Tensor) -> Tensor:
        """Encode positions [..., 2] as [..., 2 * frequencies]."""
        phase = 2 * math.pi * ((2 * position - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([torch.sin(phase), torch.cos(phase)], dim=-1)

    def grid(self, side: int) -> Tensor:
        """Codes [1, 2 * frequencies, side, side] of the cell centres of a square grid."""
        matrix = self.positional_encoding_gaussian_matrix
        centres = (torch.arange(side, device=matrix.device, dtype=matrix.dtype) + 0.5) / side
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None]


class PromptEncoder(nn.Module):
    """Embeds labelled points (box corners are points too) and mask prompts."""

    def __init__(self, width: int = 256, image_size: int = 1024, grid_side: int = 64) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid_side = grid_side
        self.pe_layer = PositionCode(width // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed labelled points.

        Args:
            points: [K, N, 2], x first, in pixels of the square model frame, corners of pixels
                counting from 0.
            labels: [K, N] integers, -1 to 3 (see the constants above).

        Returns:
            [K, N, width]. A point labelled -1 keeps nothing of its position.
        """
        kinds = [self.not_a_point_embed.weight]
        kinds += [cast(nn.Embedding, kind).weight for kind in self.point_embeddings]
        kind_table = torch.cat(kinds)
        code = self.pe_layer((points + 0.5) / self.image_size)
        is_point = (labels != PADDING).unsqueeze(-1).to(code.dtype)
        return code * is_point + functional.embedding(labels.long() + 1, kind_table)

    def embed_masks(self, masks: Tensor) -> Tensor:
        """Embed mask prompts, low-resolution logits [K, 1, 256, 256], as [K, width, 64, 64]."""
        return cast(Tensor, self.mask_downscaling(masks))

    def without_mask(self) -> Tensor:
        """What stands for "no mask prompt": [1, width, 1, 1], the same at every position."""
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1)

    def image_position(self) -> Tensor:
        """Position codes [1, width, 64, 64] of the cells of the image embedding."""
        return self.pe_layer.grid(self.grid_side)


def join_prompts(
    points: Tensor | None, labels: Tensor | None, boxes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One list of labelled points per prompt, in the order and with the padding SAM expects.

    Positions are pixels of the model frame. Points or boxes may be None (or P may be 0), not both.
    Without a box one padding point is appended; with a box its two corners are.

    Args:
        points: [K, P, 2] as x, y, or None.
        labels: [K, P], or None.
        boxes: [K, 4] as x0, y0, x1, y1, or None.

    Returns:
        Points [K, N, 2] and labels [K, N] (int64). Prompts with fewer points than others are
        filled with points labelled -1; the reference decodes such prompts apart, and gives
        slightly different masks.

    Raises:
        ValueError: other shapes, unknown labels, or neither point nor box.
    """
    if (points is None) != (labels is None):
        raise ValueError("points and labels come together: give both or neither")
    if points is not None and labels is not None:
        _check_points(points, labels)
        if points.shape[1] == 0:
            points = labels = None
    if boxes is not None and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ValueError(f"boxes are [K, 4] as x0, y0, x1, y1, got {list(boxes.shape)}")

    if points is None or labels is None:
        if boxes is None:
            raise ValueError("a prompt needs at least one point or a box, got neither")
        return _box_corners(boxes)
    labels = labels.to(torch.int64)
    if boxes is None:
        padding = points.new_zeros(len(points), 1, 2)
        return (
            torch.cat([points, padding], dim=1),
            torch.cat([labels, labels.new_full((len(labels), 1), PADDING)], dim=1),
        )
    if len(boxes) != len(points):
        raise ValueError(
            f"points of {len(points)} prompts and boxes of {len(boxes)}: both must name the same"
        )
    corners, corner_labels = _box_corners(boxes)
    return torch.cat([points, corners], dim=1), torch.cat([labels, corner_labels], dim=1)


def _check_points(points: Tensor, labels: Tensor) -> None:
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(f"points are [K, P, 2] as x, y, got {list(points.shape)}")
    if labels.shape != points.shape[:2]:
        raise ValueError(
            f"labels are [K, P] like the points {list(points.shape)}, got {list(labels.shape)}"
        )
    known = (labels == PADDING) | (labels == BACKGROUND) | (labels == FOREGROUND)
    if not bool(known.all()):
        raise ValueError(
            "labels are 1 (foreground), 0 (background) or -1 (padding), got "
            f"{labels[~known].unique().tolist()}"
        )


def _box_corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    corner_labels = torch.tensor([BOX_FIRST, BOX_SECOND], device=boxes.device)
    return boxes.reshape(-1, 2, 2), corner_labels.expand(len(boxes), 2)
