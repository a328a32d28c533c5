"""Statuses of the node's parts, and their message on /diagnostics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from rmpsam_ros.node.printable import printable


class Level(IntEnum):
    """Levels of DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Status:
    """How status part of the node is: status line, and figures by name."""

    part: str
    level: Level
    message: str
    values: dict[str, object] = field(default_factory=dict)


def diagnostics_message(
    node_name: str, hardware_id: str, statuses: Iterable[Status], stamp: Time
) -> DiagnosticArray:
    """Fill a DiagnosticArray; status names are ``<node>: <part>``, texts are made printable."""
    message = DiagnosticArray()
    message.header.stamp = stamp
    message.status = [
        DiagnosticStatus(
            level=bytes([status.level]),
            name=f"{node_name}: {status.part}",
            message=printable(status.message),
            hardware_id=hardware_id,
            values=[
                KeyValue(key=printable(key), value=printable(str(value)))
                for key, value in status.values.items()
            ],
        )
        for status in statuses
    ]
    return message
