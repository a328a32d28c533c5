"""Checks of what a browser sends: every value has a type and a range, or a reason is given."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, TypeVar

T = TypeVar("T")

MAX_POINTS, MAX_BOXES = 32, 8  # the node's own limits for one object
MAX_ID = 128
MAX_NAME = 64
MAX_STAMP = (2**31 - 1) * 1_000_000_000 + 999_999_999  # of builtin_interfaces/Time
MAX_PIXEL = 100_000.0


class Invalid(ValueError):
    """A request that is not acceptable; the message says what came and what was expected."""


class Request:
    """A request of the browser, whose fields are read with checks.

    >>> Request('{"type": "ack", "number": 3}').integer("number", 0, 10)
    3
    """

    def __init__(self, text: str) -> None:
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise Invalid("a message is not JSON") from None
        if not isinstance(values, dict) or not isinstance(values.get("type"), str):
            raise Invalid("a message must be an object with a 'type'")
        self._values: dict[str, Any] = values
        self.type: str = values["type"][:40]

    def __getitem__(self, name: str) -> Any:
        """Return a field as it came; None: it is not there."""
        return self._values.get(name)

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number within bounds."""
        value = self[name]
        if type(value) is not int or not low <= value <= high:
            raise Invalid(f"{name} is {_shown(value)}; expected a whole number {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self[name]
        if not isinstance(value, bool):
            raise Invalid(f"{name} is {_shown(value)}; expected true or false")
        return value

    def choice(self, name: str, choices: Collection[T]) -> T:
        """Return a value that is one of several."""
        value = self[name]
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise Invalid(f"{name} is {_shown(value)}; expected one of {_shown(list(choices))}")

    def text(self, name: str, longest: int) -> str:
        """Return a text of printable characters."""
        value = self[name]
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            raise Invalid(f"{name} is {_shown(value)}; expected at most {longest} characters")
        return value

    def stamp(self, name: str = "stamp") -> int:
        """Return a stamp in nanoseconds; it comes as text, because JavaScript would round it."""
        value = self[name]
        if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
            raise Invalid(f"{name} is {_shown(value)}; expected nanoseconds as text")
        if len(value) > 19 or int(value) > MAX_STAMP:
            raise Invalid(f"{name} is {value[:40]}; expected at most {MAX_STAMP}")
        return int(value)

    def points(self) -> list[tuple[float, float, int]]:
        """Return ``points``: a list of [x, y, label], label 1 (foreground) or 0 (background)."""
        found = []
        for row in self._rows("points", 3, MAX_POINTS):
            if row[2] not in (0.0, 1.0):
                raise Invalid(f"the label of a point is {row[2]:g}; expected 1 or 0")
            found.append((row[0], row[1], int(row[2])))
        return found

    def boxes(self) -> list[tuple[float, float, float, float]]:
        """Return ``boxes``: a list of [x_min, y_min, x_max, y_max]."""
        rows = self._rows("boxes", 4, MAX_BOXES)
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def _rows(self, name: str, length: int, most: int) -> list[list[float]]:
        rows = self[name] if self[name] is not None else []
        if not isinstance(rows, list) or len(rows) > most:
            raise Invalid(f"{name} must be a list of at most {most}")
        for row in rows:
            if not isinstance(row, list) or len(row) != length or not all(map(_is_number, row)):
                raise Invalid(f"every entry of {name} must be {length} numbers")
        return [[float(value) for value in row] for row in rows]


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= MAX_PIXEL  # nor is it NaN
    )


def _shown(value: object) -> str:
    return repr(value)[:80]
