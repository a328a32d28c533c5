"""Batches of one kind each, drawn from seed, step and rank alone: any step can be redone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmpsam_ros.data import ClipSet, SampleSet
from rmpsam_ros.data.samples import DataError, Sample
from rmpsam_ros.training.augment import (
    AugmentConfig,
    content_size,
    jitter_colors,
    place_frames,
    random_placements,
)
from rmpsam_ros.training.losses import ObjectTargets
from rmpsam_ros.training.pasting import MAX_WALKERS, paste_crowd, paste_objects
from rmpsam_ros.training.prompt_sampling import sample_prompts

Kind = Literal["panoptic", "clip", "prompt"]
KINDS: tuple[Kind, ...] = ("panoptic", "clip", "prompt")

CROWD = "crowd"
USES = (*KINDS, CROWD)
"""Uses of a data set: kinds of batches, and people to paste."""

_ATTEMPTS = 20


@dataclass(frozen=True)
class Source:
    """A data set and how often it is drawn for each of ``USES``."""

    name: str
    data: SampleSet | ClipSet
    weights: dict[str, float]


@dataclass(frozen=True)
class BatchConfig:
    """Sizes of batches and probabilities of their kinds."""

    batch_size: int = 2
    clip_frames: int = 2
    num_prompts: int = 30
    box_share: float = 0.5
    kinds: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Input and targets of one step.

    Attributes:
        images: [B * T, 3, H, W].
        frames: T. For panoptic and clip batches ``targets`` holds one entry per image or tube. For
            prompt batches: boxes [B, K, 4], masks bool [B, K, H, W] and known bool [B, H, W].
    """

    kind: Kind
    images: Tensor
    frames: int
    targets: tuple[ObjectTargets, ...] = ()
    boxes: Tensor | None = None
    masks: Tensor | None = None
    known: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return a copy on another device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            self.kind,
            self.images.to(device, non_blocking=True),
            self.frames,
            tuple(target.to(device) for target in self.targets),
            move(self.boxes),
            move(self.masks),
            move(self.known),
        )


class BatchMaker:
    """Makes the batch of any step."""

    def __init__(
        self,
        sources: Sequence[Source],
        config: BatchConfig,
        augment: dict[str, AugmentConfig],
        seed: int,
        rank: int = 0,
        padded_boxes: bool = False,
    ) -> None:
        """``augment``: by kind. Raises DataError if a kind with a weight has no data set.

        padded_boxes: boxes are relative to the crop with its padding, as an anchored network
        takes them, not to the image in it.
        """
        self._padded_boxes = padded_boxes
        self._sources, self._config, self._augment = sources, config, augment
        self._seed, self._rank = seed, rank
        weights = config.kinds or {"panoptic": 1.0, "clip": 1.0, "prompt": 1.0}
        self._kinds = [kind for kind in KINDS if weights.get(kind, 0) > 0]
        self._kind_weights = _normalised([weights[kind] for kind in self._kinds])
        for kind in self._kinds:
            if not any(source.weights.get(kind, 0) > 0 for source in sources):
                raise DataError(f"no data set has a weight for {kind!r} batches")

    def __call__(self, step: int) -> Batch:
        """Return the batch of ``step``; the same for every process but for the images."""
        # All processes draw the kind from the same numbers: a batch holds one kind everywhere.
        kind = self._kinds[
            int(
                np.random.default_rng((self._seed, step)).choice(
                    len(self._kinds), p=self._kind_weights
                )
            )
        ]
        rng = np.random.default_rng((self._seed, step, self._rank + 1))
        if kind == "prompt":
            return self._prompt_batch(rng)
        frames = self._config.clip_frames if kind == "clip" else 1
        items = [self._draw(kind, frames, rng) for _ in range(self._config.batch_size)]
        images = torch.from_numpy(np.concatenate([item.images for item in items]))
        return Batch(kind, images, frames, tuple(item.targets() for item in items))

    def _prompt_batch(self, rng: np.random.Generator) -> Batch:
        items = [self._draw("prompt", 1, rng) for _ in range(self._config.batch_size)]
        boxes, masks = [], []
        for item in items:
            prompts, owners = sample_prompts(
                item.masks[:, 0],
                self._config.num_prompts,
                self._config.box_share,
                item.masks.shape[2:] if self._padded_boxes else item.content,
                rng,
            )
            boxes.append(prompts)
            masks.append(item.masks[owners, 0])
        return Batch(
            "prompt",
            torch.from_numpy(np.concatenate([item.images for item in items])),
            1,
            boxes=torch.from_numpy(np.stack(boxes)),
            masks=torch.from_numpy(np.stack(masks)),
            known=torch.from_numpy(np.stack([~item.ignore[0] for item in items])),
        )

    def _draw(self, kind: Kind, frames: int, rng: np.random.Generator) -> _Item:
        """Return one image or clip, cropped.

        Images on whose crop no object is left are drawn again: prompts need one, and for the
        other kinds an empty image teaches little.
        """
        config = self._augment[kind]
        weights = _normalised([source.weights.get(kind, 0.0) for source in self._sources])
        for _ in range(_ATTEMPTS):
            source = self._sources[int(rng.choice(len(self._sources), p=weights))]
            clip = _load(source, frames, rng)
            if config.paste and rng.random() < config.paste:
                clip = self._pasted(clip, rng)
            if config.crowd and rng.random() < config.crowd:
                clip = self._crowded(clip, rng)
            images = [jitter_colors(frame.image, config.color, rng) for frame in clip]
            clip = [replace(frame, image=image) for frame, image in zip(clip, images, strict=True)]
            size = (clip[0].image.shape[0], clip[0].image.shape[1])
            placements = random_placements(size, config, frames, rng)
            arrays = place_frames(clip, placements, config)
            if len(arrays[2]):
                return _Item(*arrays, clip[0].annotated, content_size(placements[0], config))
        raise DataError(f"{_ATTEMPTS} images in a row without objects for a {kind!r} batch")

    def _pasted(self, clip: list[Sample], rng: np.random.Generator) -> list[Sample]:
        """Paste objects of another image into an image or the pseudo video of one.

        The objects are those of a source for prompts, all of which are things.
        """
        donors = [
            source
            for source in self._sources
            if source.weights.get("prompt", 0) > 0 and not isinstance(source.data, ClipSet)
        ]
        if not donors or any(frame is not clip[0] for frame in clip):
            return clip
        weights = _normalised([source.weights["prompt"] for source in donors])
        donor = donors[int(rng.choice(len(donors), p=weights))]
        pasted = paste_objects(clip[0], _load(donor, 1, rng)[0], rng)
        return [pasted] * len(clip)

    def _crowded(self, clip: list[Sample], rng: np.random.Generator) -> list[Sample]:
        """Paste a group of people of the sources for that."""
        donors = [
            source.data
            for source in self._sources
            if source.weights.get(CROWD, 0) > 0 and not isinstance(source.data, ClipSet)
        ]
        if not donors:
            return clip
        people = []
        for _ in range(int(rng.integers(2, MAX_WALKERS + 1))):
            data = donors[int(rng.integers(len(donors)))]
            people.append(data.load(int(rng.integers(len(data)))))
        return paste_crowd(clip, people, rng)


class _Item(NamedTuple):
    """images [T, 3, h, w], masks [G, T, h, w], classes [G], ignore [T, h, w], annotated [C]."""

    images: NDArray[np.float32]
    masks: NDArray[np.bool_]
    classes: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    annotated: NDArray[np.bool_]
    content: tuple[int, int]

    def targets(self) -> ObjectTargets:
        arrays = (self.classes, self.masks, self.ignore, self.annotated)
        return ObjectTargets(*(torch.from_numpy(array) for array in arrays))


def _load(source: Source, frames: int, rng: np.random.Generator) -> list[Sample]:
    """Return the frames of a random clip; an image is repeated (pseudo video)."""
    index = int(rng.integers(len(source.data)))
    if isinstance(source.data, ClipSet):
        return source.data.load_clip(index, frames, rng)
    return [source.data.load(index)] * frames


def _normalised(weights: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(weights, np.float64)
    return values / values.sum()
