"""Losses on sampled points instead of whole masks.

Source: PointRend, docs/reference/rmpsam.md, section 17.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Return maps [N, h, w] at points [N, P, 2] or [1, P, 2] by bilinear interpolation: [N, P].

    Args:
        points: (x, y) from 0 to 1 over the whole map, so maps of different sizes can be compared.
            Less than half a pixel from the border the border pixel counts, not a mix with zero.
    """
    grid = 2 * points.to(maps.dtype) - 1
    if points.shape[0] == 1 and maps.shape[0] != 1:
        # The same points for all: maps become channels, which is much cheaper.
        sampled = F.grid_sample(
            maps[None], grid[:, None], padding_mode="border", align_corners=False
        )
        return sampled[0, :, 0]
    sampled = F.grid_sample(
        maps[:, None], grid[:, None], padding_mode="border", align_corners=False
    )
    return sampled[:, 0, 0]


def random_points(count: int, number: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Return ``number`` uniform points for each of ``count`` maps: [count, number, 2]."""
    points = torch.rand(count, number, 2, generator=generator, device=generator.device)
    return points.to(like)


def uncertain_points(
    logits: Tensor,
    number: int,
    oversample: float,
    importance: float,
    generator: torch.Generator,
) -> Tensor:
    """Return points [N, number, 2], most of them where mask logits [N, h, w] are undecided.

    ``oversample * number`` uniform candidates are drawn; the ``importance`` share of the result
    are the candidates with the logit closest to 0, the rest are new uniform points.
    """
    count = logits.shape[0]
    candidates = random_points(count, int(oversample * number), generator, logits)
    with torch.no_grad():
        certainty = sample_points(logits, candidates).abs()
    chosen = int(importance * number)
    index = certainty.topk(chosen, dim=1, largest=False).indices
    kept = candidates.gather(1, index.unsqueeze(-1).expand(-1, -1, 2))
    return torch.cat((kept, random_points(count, number - chosen, generator, logits)), dim=1)
