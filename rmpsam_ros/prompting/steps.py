"""Long work in steps, between which its thread may do something else."""

from collections.abc import Generator
from enum import Enum
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")


class Step(Enum):
    """What work says of itself between two steps."""

    PAUSE = "something else may be done first"
    COMMIT = "next something is changed: if nobody waits for the work any more, it ends here"


Steps: TypeAlias = Generator[Step, bool | None, T]
"""Yields after every step; returns the result. Sending True asks to end with what there is."""


def finished(steps: Generator[Any, Any, T]) -> T:
    """Return the result of work in steps, all done now."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
