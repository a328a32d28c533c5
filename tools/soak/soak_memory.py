"""Tells whether the memory of a node is flat.

Compared are two moments of rest, at half time and at the end: in the first half everything bounded
fills up, and while the node is busy what is in use swings by tens of 10^6 bytes, with the sizes of
the images that are kept for prompts.
"""

from __future__ import annotations

from typing import NamedTuple

JUDGED = 600.0  # seconds that must lie between the two


class Flat(NamedTuple):
    """How much a figure of `memory_probe` may grow from one rest to the other."""

    figure: str
    most: float


FLAT = (
    # 10^6 bytes; it stands as high as the highest swing so far. A frame in HD with many masks
    # takes tens of 10^6 bytes for a moment, and when two cameras meet, or a request, more.
    Flat("resident", 60.0),
    Flat("in use", 15.0),  # 10^6 bytes
    Flat("python blocks", 15_000),
    Flat("threads", 4),
    Flat("files", 2),
)


def judge_memory(middle, last):
    """Compare what `memory_probe` wrote at two rests.

    Returns:
        Both and the growth between them; and what is not flat, if they lie far enough apart.
    """
    growth = {name: last[name] - middle[name] for name in middle}
    problems = [
        f"{one.figure} grew by {growth[one.figure]:.1f} between two rests, more than {one.most:g}"
        for one in FLAT
        if growth["time"] >= JUDGED and growth[one.figure] > one.most
    ]
    return {"half time": middle, "end": last, "growth": growth}, problems
