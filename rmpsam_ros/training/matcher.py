"""Assignment of queries to annotated objects.

Source: paper section 3.2, docs/reference/rmpsam.md, section 17.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rmpsam_ros.data.samples import UNNAMED


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the terms of the matching cost; ``place`` is for anchored networks only."""

    classification: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    place: float = 0.0


def class_cost(class_logits: Tensor, classes: Tensor, things: Tensor) -> Tensor:
    """Return minus the probability of each object's class, [Q, G].

    Args:
        class_logits: [Q, C + 1].
        classes: [G]; an object without a name counts the summed probability of all things.
        things: bool [C].
    """
    probabilities = class_logits.float().softmax(dim=-1)
    any_thing = probabilities[:, :-1][:, things].sum(dim=-1, keepdim=True)
    named = probabilities[:, classes.clamp(min=0)]
    return -torch.where(classes == UNNAMED, any_thing, named)


def mask_cost(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean binary cross entropy of every pair, [Q, G].

    Args:
        logits: [Q, P] at the sampled points.
        targets: [G, P] in 0..1.
        weights: [P], 0 where nothing is known.
    """
    positive = F.softplus(-logits) * weights
    negative = F.softplus(logits) * weights
    total = weights.sum().clamp(min=1)
    return (positive @ targets.T + negative @ (1 - targets).T) / total


def dice_cost(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return 1 - (2 |A B| + 1) / (|A| + |B| + 1) of every pair, [Q, G]; shapes as mask_cost."""
    probabilities = logits.sigmoid() * weights
    targets = targets * weights
    overlap = 2 * probabilities @ targets.T
    sizes = probabilities.sum(-1)[:, None] + targets.sum(-1)[None]
    return 1 - (overlap + 1) / (sizes + 1)


def place_cost(cells: Tensor, masks: Tensor, classes: Tensor, things: Tensor) -> Tensor:
    """Return how far every query's cell is from every thing, [Q, G]; 0 for stuff.

    Args:
        cells: [Q, 4], x1, y1, x2, y2 in 0..1.
        masks: bool [G, T, H, W].
        classes: [G].
        things: bool [C].
    """
    middles = (cells[:, :2] + cells[:, 2:]) / 2
    size = masks.shape[-2:]
    shares = masks.float().sum(dim=1)
    area = shares.sum(dim=(1, 2)).clamp(min=1)
    x = (torch.arange(size[1], device=masks.device) + 0.5) / size[1]
    y = (torch.arange(size[0], device=masks.device) + 0.5) / size[0]
    centers = torch.stack((shares.sum(dim=1) @ x / area, shares.sum(dim=2) @ y / area), dim=-1)
    is_thing = (classes == UNNAMED) | things[classes.clamp(min=0)]
    return torch.cdist(middles.to(centers), centers) * is_thing


@torch.no_grad()
def match(
    class_logits: Tensor,
    mask_logits: Tensor,
    classes: Tensor,
    targets: Tensor,
    weights: Tensor,
    things: Tensor,
    costs: MatchCosts,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the cheapest assignment as (queries, objects), each [min(Q, G)] of indices.

    Arguments are those of the costs above.

    Args:
        places: [Q, G], what ``place_cost`` returns.
    """
    logits, targets = mask_logits.float(), targets.float()
    cost = costs.classification * class_cost(class_logits, classes, things)
    cost = cost + costs.mask * mask_cost(logits, targets, weights)
    cost = cost + costs.dice * dice_cost(logits, targets, weights)
    if places is not None:
        cost = cost + costs.place * places
    cost = torch.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6)
    queries, objects = linear_sum_assignment(cost.cpu().numpy())
    device = class_logits.device
    return torch.as_tensor(queries, device=device), torch.as_tensor(objects, device=device)
