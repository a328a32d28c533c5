"""Contents of a recording: topics and messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Topic:
    """A topic of a recording.

    Attributes:
        name, type_name: as ROS 2 writes them: ``/front/image``, ``sensor_msgs/msg/Image``.
        definition: of the type, as text; empty: the recording has none.
        digest: hash of the type; empty: unknown.
        qos: profiles that publishers offered, as rosbags has them.
        count: messages; None: unknown.
        encoding: of the messages' bytes.
    """

    name: str
    type_name: str
    definition: str = ""
    digest: str = ""
    qos: tuple[Any, ...] = ()
    count: int | None = None
    encoding: str = "cdr"

    def counted(self, count: int | None) -> Topic:
        """Return the topic with another number of messages."""
        return replace(self, count=count)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded message: when it was written, nanoseconds, and its bytes (CDR)."""

    topic: Topic
    time: int
    data: bytes | memoryview
