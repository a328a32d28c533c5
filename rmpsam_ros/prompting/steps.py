"""Long work in steps, between which its thread may do something else."""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""Yields after every step; returns the result."""


def finished(steps: Steps[T]) -> T:
    """Return the result of work in steps, all done now."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
