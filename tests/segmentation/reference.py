"""Slow, plain fusion with every query at full resolution.

Source: docs/reference/rmpsam.md, sections 9 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage


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


def tidied(ids, is_thing, config):
    """An id map (H, W) tidied pixel by pixel, by the rules of `TidyConfig`."""
    ids = ids.astype(np.int64).copy()
    things = [k for k in np.unique(ids) if k and is_thing[k]]
    for k in things:
        parts, areas = _parts(ids == k, corners=True)
        small = np.flatnonzero(areas < config.min_piece * areas.max()) + 1
        ids[np.isin(parts, small)] = 0
    for k in np.unique(ids):
        if (ids == k).sum() < np.ceil(config.min_area * ids.size):
            ids[ids == k] = 0
    number = np.zeros(ids.shape, np.int64)  # parts of all labels together, from 1
    small = {}  # part -> its label
    for k in np.unique(ids):
        parts, areas = _parts(ids == k, corners=k != 0)
        first = number.max()
        number[parts > 0] = parts[parts > 0] + first
        limit = int((config.max_hole if k == 0 else config.max_speck) * ids.size)
        for place in np.flatnonzero(areas <= limit):
            if limit and not is_thing[k]:
                small[int(place + 1 + first)] = k
    tidy = ids.copy()
    for part in small:
        border = _border(number, ids, part, small)
        if border:
            most = max(border.values())
            tidy[number == part] = min(k for k, length in border.items() if length == most)
    return tidy


def _parts(mask, corners):
    parts, _ = ndimage.label(mask, np.ones((3, 3)) if corners else None)
    return parts, np.bincount(parts.ravel())[1:]


def _border(number, ids, part, small):
    """Length of the border of a part with every label of parts that are not small."""
    border = {}
    rows, columns = np.nonzero(number == part)
    for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
        for other in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= other[0] < ids.shape[0] and 0 <= other[1] < ids.shape[1]
            if inside and number[other] != part and int(number[other]) not in small:
                border[int(ids[other])] = border.get(int(ids[other]), 0) + 1
    return border
