"""Objects cut out of other images: scattered ones, and people in front of one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.samples import Sample, stack_masks

MAX_PASTED = 5
MAX_WALKERS = 8

_PASTED_SIZE = (0.15, 1.3)
"""Range of the factor on the size of pasted objects, relative to their images."""

_LEFT_OVER = 0.2
"""Share of an object that must stay visible behind pasted ones."""

_WALKER_HEIGHT = (0.12, 0.8)
"""Range of the height of people, relative to the image."""

_GROUP_HEIGHTS = (0.85, 1.2)
"""Range of the factor on the height within a group."""

_GROUP_STEP = (0.2, 1.1)
"""Range of the distance of neighbours in a group, in widths of a person: below 1 they overlap."""

_STRIDE = 0.15
"""Largest movement from frame to frame, relative to the height."""


def paste_objects(sample: Sample, donor: Sample, rng: np.random.Generator) -> Sample:
    """Return an image with up to ``MAX_PASTED`` objects of another one somewhere on it.

    The simple copy-paste of Ghiasi et al. (arXiv 2012.07177): little data gets more scenes, and
    objects that are known by themselves instead of by their surroundings. An object may come
    several times, in several sizes: what tells it from its copies is where it is. What little is
    left of an object behind a pasted one is unknown.
    """
    canvas = _Canvas(sample)
    number = int(rng.integers(1, MAX_PASTED + 1)) if len(donor.masks) else 0
    for index in rng.integers(0, max(len(donor.masks), 1), number):
        matrix = _scattered(donor, int(index), canvas.size, rng)
        canvas.paste(donor, [int(index)], matrix)
    return _finished([canvas])[0]


def paste_crowd(
    frames: Sequence[Sample], donors: Sequence[Sample], rng: np.random.Generator
) -> list[Sample]:
    """Return the frames of a clip (one frame: an image) with a group of people who walk.

    Args:
        donors: images of one person each; what they carry comes with them. People of a group
            have about one height, stand next to and in front of one another, the nearest in front,
            and move from frame to frame; mask g is the same object in all frames.
    """
    if not donors:
        return list(frames)
    size = frames[0].ignore.shape
    walkers = _walkers(donors, (size[0], size[1]), rng)
    canvases = [_Canvas(frame) for frame in frames]
    for time, canvas in enumerate(canvases):
        for walker in walkers:
            canvas.paste(walker.donor, range(len(walker.donor.masks)), walker.matrix(time))
    return _finished(canvases)


@dataclass(frozen=True, slots=True)
class _Walker:
    """A person: where the middle of the feet is, (x, y), and how far they go in a frame."""

    donor: Sample
    factor: float
    mirror: float
    feet: tuple[float, float]
    stride: tuple[float, float]

    def matrix(self, time: int) -> NDArray[np.float64]:
        """Return the affine map from the donor's image to frame ``time``."""
        _, left, bottom, right = _bounds(np.any(self.donor.masks, axis=0))
        across = self.mirror * self.factor
        x = self.feet[0] + time * self.stride[0] - across * (left + right) / 2
        y = self.feet[1] + time * self.stride[1] - self.factor * bottom
        return np.array([[across, 0.0, x], [0.0, self.factor, y]])


def _walkers(
    donors: Sequence[Sample], size: tuple[int, int], rng: np.random.Generator
) -> list[_Walker]:
    """Place the people of a group, the farthest first."""
    height = size[0] * np.exp(rng.uniform(*np.log(_WALKER_HEIGHT)))
    x = rng.uniform(-0.1, 0.7) * size[1]
    ground = rng.uniform(max(height, 0.4 * size[0]), size[0] + 0.3 * height)
    walkers = []
    for donor in donors:
        if not donor.masks.any():
            continue
        top, left, bottom, right = _bounds(np.any(donor.masks, axis=0))
        factor = height * rng.uniform(*_GROUP_HEIGHTS) / (bottom - top)
        feet = (x, ground + rng.uniform(-0.1, 0.1) * height)
        stride = rng.uniform(-_STRIDE, _STRIDE) * height, rng.uniform(-0.1, 0.1) * _STRIDE * height
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        walkers.append(_Walker(donor, factor, mirror, feet, stride))
        x += rng.uniform(*_GROUP_STEP) * factor * (right - left)
    return sorted(walkers, key=lambda walker: walker.feet[1])


class _Canvas:
    """An image that objects are pasted on; none of its masks is ever dropped."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.size = sample.ignore.shape
        self.image, self.ignore = sample.image.copy(), sample.ignore.copy()
        self.masks, self.classes = list(sample.masks), list(sample.classes)

    def paste(self, donor: Sample, indices: Sequence[int], matrix: NDArray[np.float64]) -> None:
        """Paste objects of another image, mapped to this one by ``matrix`` [2, 3]."""
        shape = (self.size[1], self.size[0])
        moved = [
            cv2.warpAffine(
                donor.masks[index].astype(np.uint8), matrix, shape, flags=cv2.INTER_NEAREST
            ).astype(bool)
            for index in indices
        ]
        covered = np.logical_or.reduce(moved)
        self.image[covered] = cv2.warpAffine(donor.image, matrix, shape)[covered]
        self.ignore &= ~covered
        self._hide(covered)
        self.masks += moved
        self.classes += [donor.classes[index] for index in indices]

    def _hide(self, covered: NDArray[np.bool_]) -> None:
        for place, other in enumerate(self.masks):
            left = other & ~covered
            if left.sum() < _LEFT_OVER * other.sum():
                self.ignore |= left
                left = np.zeros_like(left)
            self.masks[place] = left


def _finished(canvases: Sequence[_Canvas]) -> list[Sample]:
    """Return the images without the objects that none of them shows any more."""
    count = len(canvases[0].masks)
    seen = [
        place for place in range(count) if any(canvas.masks[place].any() for canvas in canvases)
    ]
    return [
        replace(
            canvas.sample,
            image=canvas.image,
            ignore=canvas.ignore,
            masks=stack_masks([canvas.masks[place] for place in seen], canvas.size),
            classes=np.array([canvas.classes[place] for place in seen], np.int64),
        )
        for canvas in canvases
    ]


def _scattered(
    donor: Sample, index: int, size: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the affine map that brings a donor's object to some place on ``size``."""
    top, left, bottom, right = _bounds(donor.masks[index])
    largest = 0.9 * min(size[0] / (bottom - top), size[1] / (right - left))
    factor = np.exp(rng.uniform(*np.log(_PASTED_SIZE)))
    factor = min(factor * max(size) / max(donor.ignore.shape), largest)
    x = rng.uniform(0.0, size[1]) - factor * (left + right) / 2
    y = rng.uniform(0.0, size[0]) - factor * (top + bottom) / 2
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    middle = factor * (left + right) / 2
    return np.array([[mirror * factor, 0.0, x + (1 - mirror) * middle], [0.0, factor, y]])


def _bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right), the last two exclusive, of a mask that has pixels."""
    rows, columns = np.nonzero(mask)
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
