"""Health of the perception node: its /diagnostics, and the cameras named there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rmpsam_ros.node.input.images import WHITE_16

_INPUT = "input"
LEVELS = {0: "ok", 1: "warn", 2: "error", 3: "stale"}


@dataclass(frozen=True, slots=True)
class Part:
    """One status: ``front input`` is part ``input`` of camera ``front``."""

    name: str
    level: str
    message: str
    values: dict[str, str] = field(default_factory=dict)


def parts_of(message: Any, node_name: str) -> list[Part]:
    """Return the statuses that a node of this name has in a DiagnosticArray.

    Args:
        node_name: its name without namespace.
    """
    prefix = f"{node_name}: "
    return [
        Part(
            status.name.removeprefix(prefix),
            LEVELS.get(_number(status.level), "error"),
            status.message,
            {value.key: value.value for value in status.values},
        )
        for status in message.status
        if status.name.startswith(prefix)
    ]


def camera_sources(parts: list[Part]) -> dict[str, tuple[str, str]]:
    """Return topic and type name of the images of every camera by its name.

    The only camera of a node has the name "".
    """
    return {
        part.name.removesuffix(_INPUT).strip(): (
            part.values.get("topic", ""),
            part.values.get("type", ""),
        )
        for part in parts
        if part.name == _INPUT or part.name.endswith(f" {_INPUT}")
    }


def mono16_white(parts: list[Part]) -> int:
    """Return the value of mono16 images that is white, as the node takes it."""
    for part in parts:
        text = part.values.get("mono16 white", "")
        if text.isdecimal() and 0 < int(text) <= WHITE_16:
            return int(text)
    return WHITE_16


def _number(level: Any) -> int:
    """Return a level, which rclpy gives as one byte."""
    return level[0] if isinstance(level, bytes) else int(level)
