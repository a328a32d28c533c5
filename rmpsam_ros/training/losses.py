"""The training losses for objects and prompts.

Source: paper section 3.2, docs/reference/rmpsam.md, section 17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rmpsam_ros.data.samples import UNNAMED
from rmpsam_ros.model import RawObjects, RawPrompts, RmpSam, StageOutput
from rmpsam_ros.training.matcher import MatchCosts, match, place_cost
from rmpsam_ros.training.points import random_points, sample_points, uncertain_points

NO_CLASS = -3
"""Index of a general class where there is none."""


@dataclass(frozen=True)
class LossConfig:
    """Weights and sampling of docs/reference/rmpsam.md, section 17.

    Attributes:
        stage_logits: factor on the class logits of decoder stages, which the reference makes 10
            times as steep as the final ones. With 0.1 they are equal; their gradient then does not
            drown that of the masks, which counts where there are few steps.
        names: of the cross entropy of what a network with ``names_from_pixels`` reads from the
            pixels of annotated objects. Queries that find an object twice, and of which only one
            may name it, are noise to the names; this loss is free of it.
        general_class: a thing class that is also right, though less, for things with a name of
            their own: the share 1 - ``own_name`` of their loss takes either. Empty: there is none.
    """

    classification: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    iou: float = 10.0
    no_object: float = 0.1
    stage_logits: float = 1.0
    general_class: str = ""
    own_name: float = 0.3
    names: float = 0.0
    num_points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75
    costs: MatchCosts = field(default_factory=MatchCosts)


@dataclass(frozen=True, slots=True)
class ObjectTargets:
    """The annotated objects of one image or tube of T frames.

    Attributes:
        classes: int64 [G], or ``UNNAMED``.
        masks: bool [G, T, H, W].
        ignore: bool [T, H, W].
        annotated: bool [C], see ``Sample``.
    """

    classes: Tensor
    masks: Tensor
    ignore: Tensor
    annotated: Tensor

    def to(self, device: torch.device) -> ObjectTargets:
        """Return a copy on another device."""
        move = (self.classes, self.masks, self.ignore, self.annotated)
        return ObjectTargets(*(tensor.to(device, non_blocking=True) for tensor in move))


def object_losses(
    output: RawObjects,
    targets: Sequence[ObjectTargets],
    things: Tensor,
    config: LossConfig,
    generator: torch.Generator,
    num_masks: Tensor,
    general: int = NO_CLASS,
    cells: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the weighted losses ``class``, ``mask`` and ``dice``, summed over all outputs.

    Args:
        output: with stages; every stage and the adapter are matched and punished alike.
        targets: one per image or tube of the batch.
        things: bool [C].
        general: index of ``config.general_class``.
        num_masks: divisor of the mask losses: objects of the batch, mean over all processes.
        cells: [Q, 4], where an anchored network's queries look first, for ``costs.place``.
    """
    maps = [_TargetMaps.of(target, things, cells) for target in targets]
    predictions: list[StageOutput | RawObjects] = [*output.stages, output]
    factors = [config.stage_logits] * len(output.stages) + [1.0]
    losses = [
        _single_output_losses(
            factor * prediction.class_logits,
            prediction.mask_logits.float(),
            targets,
            maps,
            things,
            config,
            generator,
            num_masks,
            general,
        )
        for prediction, factor in zip(predictions, factors, strict=True)
    ]
    return _summed(losses)


class _TargetMaps(NamedTuple):
    """Masks [G, T * H, W] and known pixels [1, T * H, W] as float32, frames stacked.

    Attributes:
        places: [Q, G], what ``place_cost`` returns, or None.
    """

    masks: Tensor
    known: Tensor
    places: Tensor | None

    @classmethod
    def of(cls, target: ObjectTargets, things: Tensor, cells: Tensor | None) -> _TargetMaps:
        known = ~target.ignore[None]
        places = None
        if cells is not None:
            places = place_cost(cells, target.masks, target.classes, things)
        return cls(_stack_frames(target.masks).float(), _stack_frames(known).float(), places)


def _summed(losses: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([entry[name] for entry in losses]).sum() for name in losses[0]}


def _single_output_losses(
    class_logits: Tensor,
    mask_logits: Tensor,
    targets: Sequence[ObjectTargets],
    maps: Sequence[_TargetMaps],
    things: Tensor,
    config: LossConfig,
    generator: torch.Generator,
    num_masks: Tensor,
    general: int,
) -> dict[str, Tensor]:
    classification, weight = class_logits.new_zeros(()), class_logits.new_zeros(())
    matched_logits, matched_targets, matched_weights = [], [], []
    for image, (target, (masks, known, places)) in enumerate(zip(targets, maps, strict=True)):
        logits = _stack_frames(mask_logits[image])
        points = random_points(1, config.num_points, generator, logits)
        queries, objects = match(
            class_logits[image].detach(),
            sample_points(logits.detach(), points),
            target.classes,
            sample_points(masks, points),
            sample_points(known, points)[0],
            things,
            config.costs,
            places,
        )
        loss, weights = class_loss(
            class_logits[image],
            target,
            queries,
            objects,
            things,
            config,
            mostly_ignored(logits, target.ignore),
            general,
        )
        classification, weight = classification + loss, weight + weights
        if len(queries):
            matched_logits.append(logits[queries])
            matched_targets.append(masks[objects])
            matched_weights.append(known.expand(len(queries), -1, -1))
    losses = {"class": config.classification * classification / weight.clamp(min=1e-6)}
    if not matched_logits:
        # Keeps every parameter in the graph, which distributed training needs.
        losses["mask"] = losses["dice"] = 0.0 * mask_logits.sum()
        return losses
    logits = torch.cat(matched_logits)
    points = uncertain_points(
        logits, config.num_points, config.oversample, config.importance, generator
    )
    sampled = sample_points(logits, points)
    with torch.no_grad():
        expected = _sample_each(matched_targets, points)
        weights = _sample_each(matched_weights, points)
    losses["mask"] = config.mask * mask_loss(sampled, expected, weights).sum() / num_masks
    losses["dice"] = config.dice * dice_loss(sampled, expected, weights).sum() / num_masks
    return losses


def name_loss(
    network: RmpSam, features: Tensor, targets: Sequence[ObjectTargets], config: LossConfig
) -> Tensor:
    """Return the weighted loss of the names read from the pixels of annotated objects.

    Args:
        features: [B * T, d, h, w]. Objects without a name, and those with less than half of any
            feature's pixels, do not count.
    """
    logits, classes = [], []
    for own, target in zip(features.chunk(len(targets)), targets, strict=True):
        if not len(target.classes):
            continue
        masks = F.interpolate(target.masks.float(), own.shape[-2:], mode="area") > 0.5
        usable = masks.flatten(1).any(dim=1) & (target.classes >= 0)
        logits.append(network.name_logits(own, masks[usable]))
        classes.append(target.classes[usable])
    if not sum(map(len, classes)):
        return 0.0 * features.sum()
    return config.names * F.cross_entropy(torch.cat(logits).float(), torch.cat(classes))


def prompt_losses(
    output: RawPrompts,
    masks: Tensor,
    known: Tensor,
    config: LossConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return the weighted losses ``mask``, ``dice`` and ``iou``, summed over all outputs.

    Prompt k is responsible for mask k; there is no matching and no class loss.

    Args:
        masks: bool [B, K, H, W].
        known: bool [B, H, W]. The IoU target is a soft dice score, 1 - dice loss, as in the
            reference.
    """
    expected_masks = masks.flatten(0, 1).float()
    known_maps = known.float().repeat_interleave(masks.shape[1], dim=0)
    predictions: list[StageOutput | RawPrompts] = [*output.stages, output]
    losses = []
    for prediction in predictions:
        logits = prediction.mask_logits.flatten(0, 1).float()
        points = uncertain_points(
            logits, config.num_points, config.oversample, config.importance, generator
        )
        sampled = sample_points(logits, points)
        with torch.no_grad():
            expected = sample_points(expected_masks, points)
            weights = sample_points(known_maps, points)
        dice = dice_loss(sampled, expected, weights)
        error = prediction.iou.flatten() - (1 - dice.detach())
        losses.append(
            {
                "mask": config.mask * mask_loss(sampled, expected, weights).mean(),
                "dice": config.dice * dice.mean(),
                "iou": config.iou * error.square().mean(),
            }
        )
    return _summed(losses)


def class_loss(
    class_logits: Tensor,
    target: ObjectTargets,
    queries: Tensor,
    objects: Tensor,
    things: Tensor,
    config: LossConfig,
    ignored: Tensor,
    general: int = NO_CLASS,
) -> tuple[Tensor, Tensor]:
    """Return the summed weighted cross entropy of one image, and the summed weights.

    - A matched query has the class of its object, among all classes; for a share of the loss of
      a thing the ``general`` class will do.
    - Matched to an object without a name it must be some thing, whichever.
    - An unmatched query must be "no object" (weight ``no_object``), but only among the classes
      that are annotated; on pixels about which nothing is known it is not punished at all.

    Args:
        class_logits: [Q, C + 1].
        queries, objects: the assignment.
        ignored: bool [Q].
    """
    num_classes = class_logits.shape[1] - 1
    log_all = class_logits.float().log_softmax(dim=-1)
    denied = torch.cat((~target.annotated, target.annotated.new_zeros(1)))
    log_void = class_logits.float().masked_fill(denied, -torch.inf).log_softmax(dim=-1)[:, -1]
    classes = torch.full_like(ignored, num_classes, dtype=torch.int64)
    classes[queries] = target.classes[objects]
    named = log_all.gather(1, classes.clamp(min=0).unsqueeze(1)).squeeze(1)
    any_thing = log_all[:, :-1][:, things].logsumexp(dim=-1)
    void = classes == num_classes
    if general != NO_CLASS:
        either = torch.logaddexp(named, log_all[:, general])
        mixed = config.own_name * named + (1 - config.own_name) * either
        known = classes.clamp(0, num_classes - 1)
        named = torch.where(things[known] & ~void & (known != general), mixed, named)
    log_likelihood = torch.where(classes == UNNAMED, any_thing, named)
    log_likelihood = torch.where(void, log_void, log_likelihood)
    weights = torch.where(void, config.no_object * (~ignored).float(), 1.0)
    return -(weights * log_likelihood).sum(), weights.sum()


def mask_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean binary cross entropy of each mask: [N, P] to [N]."""
    loss = F.binary_cross_entropy_with_logits(
        logits.float(), targets.to(torch.float32), reduction="none"
    )
    return (loss * weights).sum(dim=-1) / weights.sum(dim=-1).clamp(min=1)


def dice_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return 1 - (2 |A B| + 1) / (|A| + |B| + 1) of each mask: [N, P] to [N]."""
    probabilities = logits.float().sigmoid() * weights
    targets = targets * weights
    overlap = 2 * (probabilities * targets).sum(dim=-1)
    return 1 - (overlap + 1) / (probabilities.sum(dim=-1) + targets.sum(dim=-1) + 1)


@torch.no_grad()
def mostly_ignored(logits: Tensor, ignore: Tensor) -> Tensor:
    """Return whether most of each predicted mask lies on unknown pixels, bool [Q].

    Args:
        logits: [Q, T * h, w].
        ignore: bool [T, H, W].
    """
    if not ignore.any():
        return torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    maps = _stack_frames(ignore[None]).float()[None]
    share = F.interpolate(maps, size=logits.shape[-2:], mode="area")[0, 0]
    predicted = (logits > 0).to(share)
    inside = (predicted * share).sum(dim=(1, 2))
    return inside > 0.5 * predicted.sum(dim=(1, 2)).clamp(min=1)


def _stack_frames(maps: Tensor) -> Tensor:
    """Stack the frames of a tube along the height: [N, T, h, w] to [N, T * h, w]."""
    return maps.flatten(1, 2) if maps.ndim == 4 else maps


def _sample_each(groups: Sequence[Tensor], points: Tensor) -> Tensor:
    """Sample maps that come in groups, all of them [n, h, w], at their rows of points."""
    counts = [len(group) for group in groups]
    return torch.cat(
        [
            sample_points(group, part)
            for group, part in zip(groups, points.split(counts), strict=True)
        ]
    )
