"""One parameter of a node: its type, its range, and when it may be changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Value = bool | int | float | str


class Change(Enum):
    """When a parameter may be changed; the value is how the documentation says it."""

    LIVE = "at any time"
    UNCONFIGURED = "while the node is unconfigured"
    START = "at start only"


class ParameterError(ValueError):
    """A value that a parameter does not accept; the message says why."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; the type of the default is its type.

    Attributes:
        range: least and greatest number accepted.
        choices: texts accepted; empty: any.
    """

    name: str
    default: Value
    description: str
    change: Change = Change.START
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    @property
    def type_name(self) -> str:
        """Name of the type as ROS 2 tools spell it."""
        return {bool: "bool", int: "integer", float: "double", str: "string"}[type(self.default)]

    def check(self, value: object) -> Value:
        """Return a value as it is used: whole numbers are taken for numbers, too.

        Raises:
            ParameterError: it has another type, or is out of range.
        """
        if type(self.default) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default):
            raise ParameterError(
                f"{self.name} is {value!r}; expected {self.type_name}, like {self.default!r}"
            )
        if self.range is not None and isinstance(value, int | float):
            low, high = self.range
            if not low <= value <= high:
                raise ParameterError(f"{self.name} is {value}; expected {low:g} to {high:g}")
        if self.choices and value not in self.choices:
            raise ParameterError(
                f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}"
            )
        assert isinstance(value, bool | int | float | str)  # the default's type
        return value
