"""Tells whether the memory of a node is flat.

By the slope of the straight line through the second half of a long run: in the first, everything
that is bounded fills up. What is in use swings by tens of 10^6 bytes with the sizes of the images
that are kept for prompts, so that its line may tilt by about 20 an hour by chance. What is
resident stands as high as the highest swing so far, and goes up in ever rarer steps.
"""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

JUDGED = 1200.0  # seconds that a run must take


class Flat(NamedTuple):
    """How much a figure of `memory_probe` may grow in an hour."""

    figure: str
    per_hour: float


FLAT = (
    Flat("resident", 60.0),  # 10^6 bytes
    Flat("in use", 40.0),  # 10^6 bytes
    Flat("python blocks", 40_000),
    Flat("threads", 8),
    Flat("files", 2),
)


def judge_memory(memory, seconds):
    """Judge what `memory_probe` wrote in a run of so many seconds.

    Returns:
        First, middle and last figures and the growth in an hour; and what is not flat.
    """
    if not memory:
        return {}, ["the node wrote no figures of its memory"]
    half = memory[len(memory) // 2 :]
    hours = [one["time"] / 3600.0 for one in half]
    growth = {name: slope(hours, [one[name] for one in half]) for name in half[0]}
    del growth["time"]
    problems = [
        f"{one.figure} grew by {growth[one.figure]:.0f} an hour, more than {one.per_hour:g}"
        for one in FLAT
        if seconds >= JUDGED and growth[one.figure] > one.per_hour
    ]
    return {"first": memory[0], "middle": half[0], "last": half[-1], "per hour": growth}, problems


def slope(times, values):
    """Slope of the straight line that fits best."""
    mean_time, mean = fmean(times), fmean(values)
    squares = sum((one - mean_time) ** 2 for one in times)
    products = sum((t - mean_time) * (v - mean) for t, v in zip(times, values, strict=True))
    return products / squares if squares else 0.0
