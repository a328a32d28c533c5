"""Scores that mean something: the classes of a trained network, fitted once more to its masks.

Training matches one query to every object and denies all others: of ten queries that have an
object nine learn to say "nothing", and the score of the tenth says little about its mask. Here
the network stays as it is but for the two layers that make class embeddings. Every query of every
image is a sample: it learns the name of the object that its mask covers best, with a probability
that grows with the IoU and is highest for the best of the queries on an object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.data.samples import UNNAMED, Sample
from rmpsam_ros.model import RmpSam
from rmpsam_ros.segmentation.preprocess import Letterbox, preprocess
from rmpsam_ros.segmentation.tidying import cells_of_image


@dataclass(frozen=True)
class CalibrationConfig:
    """How scores grow with masks, and how they are fitted.

    Attributes:
        lowest, highest: IoU at which the wanted probability of an object leaves 0 and reaches 1.
        sharpness: power of (IoU / best IoU of any query with that object) it is multiplied with.
        own_name: see ``LossConfig``.
        keep_stuff: queries that are stuff with more than this probability, and all of the data
            sets of ``keep``, stay as they are: their answers are what is learned.
    """

    lowest: float = 0.3
    highest: float = 0.7
    sharpness: float = 6.0
    own_name: float = 0.8
    keep_stuff: float = 0.3
    keep: tuple[str, ...] = ("camvid",)
    epochs: float = 5.0
    batch_size: int = 1024
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    dropout: float = 0.1
    warmup_steps: int = 30


class QuerySamples(NamedTuple):
    """What is known of M queries.

    Attributes:
        adapted, pooled: [M, d], what the two layers look at.
        wanted: [M], the probability of an object that a query should give.
        classes: [M], of the object that it covers best, or ``UNNAMED``.
        annotated: bool [M, C], see ``Sample``.
        unknown: bool [M], whether most of the mask lies on pixels about which nothing is known.
        kept: bool [M], whether the query is to stay as it is.
        before: [M, C + 1], what it says now.
    """

    adapted: Tensor
    pooled: Tensor
    wanted: Tensor
    classes: Tensor
    annotated: Tensor
    unknown: Tensor
    kept: Tensor
    before: Tensor

    @classmethod
    def joined(cls, parts: Sequence[QuerySamples]) -> QuerySamples:
        """Return all samples of several images."""
        return cls(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def some(self, index: Tensor) -> QuerySamples:
        """Return the samples at ``index``."""
        return QuerySamples(*(tensor[index] for tensor in self))


@torch.no_grad()
def query_samples(
    network: RmpSam,
    sample: Sample,
    things: Tensor,
    limits: tuple[int, int],
    keep: bool,
    config: CalibrationConfig,
) -> QuerySamples:
    """Show an image to a network with ``names_from_pixels`` and return its object queries.

    Args:
        things: bool [C].
        limits: (long, short) side that images are resized to.
        keep: whether all queries of this image are to stay as they are.
    """
    branch = _name_branch(network)
    seen: list[Tensor] = []
    hook = branch.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    try:
        planes, geometry = preprocess(sample.image, limits)
        output = network.decode_objects(network.features(torch.from_numpy(planes)))
    finally:
        hook.remove()
    masks, known = _on_cells(sample, geometry, output.mask_logits.shape[-2:])
    height, width = masks.shape[-2:]
    predicted = (output.mask_logits[0, :, :height, :width] > 0).flatten(1).float()
    wanted, best = _wanted(predicted * known, masks.flatten(1).float() * known, config)
    before = output.class_logits[0].softmax(dim=-1)
    stuff = before[:, :-1][:, ~things].sum(dim=1) > config.keep_stuff
    classes = torch.from_numpy(sample.classes)
    nothing = torch.full((len(before),), UNNAMED)
    unknown = (predicted * known).sum(dim=1) < 0.5 * predicted.sum(dim=1)
    return QuerySamples(
        output.queries[0],
        seen[0][0],
        wanted,
        classes[best] if len(classes) else nothing,
        torch.from_numpy(sample.annotated).expand(len(before), -1),
        unknown,
        stuff | keep,
        before,
    )


def calibration_loss(
    logits: Tensor, samples: QuerySamples, things: Tensor, general: int, own_name: float
) -> Tensor:
    """Return the mean cross entropy of class logits [M, C + 1].

    Args:
        things: bool [C].
        general: index of the class that is right, though less, for every thing; or negative.
    """
    log_all = logits.log_softmax(dim=-1)
    denied = F.pad(~samples.annotated, (0, 1), value=False)
    log_void = logits.masked_fill(denied, -torch.inf).log_softmax(dim=-1)[:, -1]
    known = samples.classes.clamp(min=0)
    named = log_all.gather(1, known[:, None])[:, 0]
    if general >= 0:
        either = torch.logaddexp(named, log_all[:, general])
        mixed = own_name * named + (1 - own_name) * either
        named = torch.where(things[known] & (known != general), mixed, named)
    any_thing = log_all[:, :-1][:, things].logsumexp(dim=-1)
    positive = torch.where(samples.classes == UNNAMED, any_thing, named)
    negative = torch.where(samples.unknown, torch.zeros_like(log_void), log_void)
    fitted = samples.wanted * positive + (1 - samples.wanted) * negative
    same = (samples.before * log_all).sum(dim=-1)
    return -torch.where(samples.kept, same, fitted).mean()


def calibrate(
    network: RmpSam,
    samples: QuerySamples,
    things: Tensor,
    general: int,
    config: CalibrationConfig,
    seed: int = 0,
) -> Iterator[float]:
    """Fit the layers that make class embeddings, in place; yields the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    adapter = network.object_adapter
    trained = [*adapter.class_layer.parameters(), *_name_branch(network).parameters()]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps = math.ceil(config.epochs * len(samples.wanted) / config.batch_size)
    for step in range(steps):
        warm = min(1.0, (step + 1) / config.warmup_steps)
        shape = 0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = config.learning_rate * warm * shape
        index = torch.randint(len(samples.wanted), (config.batch_size,), generator=generator)
        some = samples.some(index)
        logits = _logits(network, some, config.dropout)
        loss = calibration_loss(logits, some, things, general, config.own_name)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield float(loss.detach())


def collect(
    network: RmpSam,
    images: Iterable[tuple[str, Sample]],
    things: Tensor,
    limits: tuple[int, int],
    config: CalibrationConfig,
) -> QuerySamples:
    """Return the queries of all images, given with the names of their data sets."""
    return QuerySamples.joined(
        [
            query_samples(network, sample, things, limits, name in config.keep, config)
            for name, sample in images
        ]
    )


def _name_branch(network: RmpSam) -> nn.Sequential:
    branch = network.object_adapter.name_branch
    if branch is None:
        raise ValueError("only a network with names_from_pixels can be calibrated")
    return branch


def _logits(network: RmpSam, samples: QuerySamples, dropout: float) -> Tensor:
    """Return class logits [M, C + 1] as the adapter makes them, with dropout."""
    norm, first, activation, last = _name_branch(network)
    hidden = activation(first(F.dropout(norm(samples.pooled), dropout)))
    names = last(F.dropout(hidden, 2 * dropout))
    embeddings = network.object_adapter.class_layer(F.dropout(samples.adapted, dropout / 2))
    return cast(Tensor, network.classifier((embeddings + names)[None]))[0]


def _on_cells(
    sample: Sample, geometry: Letterbox, mask_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return masks, bool [G, h, w], and known pixels, [h * w] of 0 and 1, on the cells."""
    size = cells_of_image(geometry, (mask_size[0], mask_size[1]))
    maps = torch.from_numpy(sample.masks).float()
    masks = F.interpolate(maps[None], size, mode="area")[0] >= 0.5 if len(maps) else maps.bool()
    ignore = torch.from_numpy(sample.ignore)[None, None].float()
    known = F.interpolate(ignore, size, mode="area")[0, 0] <= 0.5
    return masks.reshape(len(maps), *size), known.flatten().float()


def _wanted(predicted: Tensor, masks: Tensor, config: CalibrationConfig) -> tuple[Tensor, Tensor]:
    """Return the probability wanted of every query, [Q], and the object it covers best, [Q].

    Args:
        predicted: [Q, L], and masks: [G, L], of 0 and 1.
    """
    if not len(masks):
        none = torch.zeros(len(predicted))
        return none, none.long()
    shared = predicted @ masks.T
    union = predicted.sum(dim=1)[:, None] + masks.sum(dim=1)[None] - shared
    iou = shared / union.clamp(min=1)
    own, best = iou.max(dim=1)
    relative = own / iou.max(dim=0).values[best].clamp(min=0.05)
    grown = (own - config.lowest) / (config.highest - config.lowest)
    return grown.clamp(0, 1) * relative**config.sharpness, best
