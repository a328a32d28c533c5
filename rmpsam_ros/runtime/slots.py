"""Sizes that inputs are filled up to where every new shape costs a moment, and their ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

PROMPT_SLOTS = (1, 16, 64)
"""Sizes to which the prompts of one pass are filled up; more than the last are split."""

BATCH_SLOTS = (1, 2, 4)
"""Sizes to which a batch is filled up; more images than the last are split."""


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """Smallest shape of an input, the one to optimise for, and the largest."""

    smallest: tuple[int, ...]
    usual: tuple[int, ...]
    largest: tuple[int, ...]

    def allows(self, shape: tuple[int, ...]) -> bool:
        """Tell whether a shape is not beyond the largest."""
        same = len(shape) == len(self.largest)
        return same and all(size <= limit for size, limit in zip(shape, self.largest, strict=True))


Profile: TypeAlias = Mapping[str, ShapeRange]
"""Ranges of all inputs of a part, by name."""

Axes: TypeAlias = Mapping[str, tuple[int, int, int]]
"""Smallest, usual and largest size of every dynamic axis, by its name."""


def profile(inputs: Mapping[str, Sequence[int | str]], axes: Axes) -> Profile:
    """Return the ranges of inputs whose shapes name their dynamic axes."""
    ranges = {}
    for name, shape in inputs.items():
        sizes = [axes[size] if isinstance(size, str) else (size,) * 3 for size in shape]
        ranges[name] = ShapeRange(*(tuple(size[k] for size in sizes) for k in range(3)))
    return ranges


def slot(count: int, slots: Sequence[int]) -> int:
    """Return the smallest of the slots that holds ``count``."""
    return next(size for size in slots if size >= count)
