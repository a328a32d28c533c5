"""Slow, plain fusion with every query at full resolution.

Source: docs/reference/rmpsam.md, sections 9 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass
class Panoptic:
    """What the official fusion leaves: class and instance per pixel, and who won what."""

    semantic: np.ndarray  # (H, W) int64, C where there is nothing
    instance: np.ndarray  # (H, W) int64, 0 for stuff and nothing
    account: dict[int, tuple[int, int]]  # kept query -> pixels won, pixels claimed
    margin: np.ndarray  # (H, W): how far the winner is ahead, relative; how far logits are from 0


def resample(mask_logits, geometry):
    """Mask logits (N, h, w) at image size, in two bilinear steps with the crop in between."""
    x = torch.as_tensor(mask_logits)[None].float()
    x = F.interpolate(x, geometry.padded_size, mode="bilinear", align_corners=False)
    height, width = geometry.resized_size
    x = x[..., :height, :width]
    return F.interpolate(x, geometry.image_size, mode="bilinear", align_corners=False)[0]


def panoptic(class_logits, mask_logits, geometry, num_things, config):
    """mmdet's panoptic fusion as docs/reference/rmpsam.md, section 11 states it."""
    none = class_logits.shape[1] - 1
    scores, labels = torch.as_tensor(class_logits).float().softmax(-1).max(-1)
    keep = labels.ne(none) & (scores > config.score_threshold)
    height, width = geometry.image_size
    semantic = torch.full((height, width), none, dtype=torch.int64)
    instance = torch.zeros((height, width), dtype=torch.int64)
    account = {}
    margin = torch.full((height, width), float("inf"))
    if not keep.any():
        return Panoptic(semantic.numpy(), instance.numpy(), account, margin.numpy())
    logits = resample(torch.as_tensor(mask_logits)[keep], geometry)
    masks = logits.sigmoid()
    prob = scores[keep].view(-1, 1, 1) * masks
    winner = prob.argmax(0)
    best = prob.topk(min(2, len(prob)), dim=0).values
    if len(prob) > 1:
        margin = (best[0] - best[1]) / best[0].clamp_min(1e-30)
    margin = torch.minimum(margin, logits.abs().min(0).values)
    count = 0
    for k, query in enumerate(torch.nonzero(keep)[:, 0].tolist()):
        won = winner == k
        own = masks[k] >= 0.5
        area, claimed = int(won.sum()), int(own.sum())
        account[query] = (area, claimed)
        if area == 0 or claimed == 0 or area / claimed < config.overlap_threshold:
            continue
        if config.filter_low_score:
            won = won & own
        semantic[won] = labels[query]
        if labels[query] < num_things:
            count += 1
            instance[won] = count
    return Panoptic(semantic.numpy(), instance.numpy(), account, margin.numpy())
