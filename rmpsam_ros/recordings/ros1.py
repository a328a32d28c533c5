"""Reads ROS 1 bags: every message is given as ROS 2 has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.convert.converter import (
    LATCH,
    STATIC_MSGTYPE_RENAMES,
    migrate_bytes,
)
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.topics import Recorded, Topic


class Ros1Bag:
    """A ROS 1 bag, closed properly by its recorder.

    Attributes:
        topics: all topics, with the types of ROS 2.
        damage: messages that could not be converted.
    """

    def __init__(self, path: Path) -> None:
        self.damage: list[str] = []
        self._reader = AnyReader([path])
        try:
            self._reader.open()
        except PermissionError as error:
            raise RecordingError(f"'{path}' may not be read: {error.strerror}") from error
        except Exception as error:
            reason = " ".join(str(error).split())
            raise RecordingError(
                f"'{path}' cannot be read: {reason}; a bag that was not closed is repaired by "
                "`rosbag reindex`"
            ) from error
        self._store = get_typestore(Stores.ROS2_JAZZY)
        known = self._store.fielddefs
        foreign = self._reader.typestore.fielddefs
        self._store.register({name: foreign[name] for name in foreign if name not in known})
        self._cache: dict[str, Any] = {}
        self._topics = {
            (connection.id, connection.owner): self._topic(connection)
            for connection in self._reader.connections
        }
        self.topics = tuple(self._topics.values())

    def messages(self, wanted: set[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics in the order of their times, converted."""
        connections = [
            connection for connection in self._reader.connections if connection.topic in wanted
        ]
        if not connections:
            return
        for connection, time, data in self._reader.messages(connections):
            topic = self._topics[connection.id, connection.owner]
            try:
                converted = migrate_bytes(
                    self._reader.typestore,
                    self._store,
                    connection.msgtype,
                    topic.type_name,
                    self._cache,
                    data,
                    src_is2=False,
                    dst_is2=True,
                )
            except Exception as error:
                self.damage.append(f"a message on {topic.name} cannot be converted: {error}")
                continue
            yield Recorded(topic, time, converted)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _topic(self, connection: Any) -> Topic:
        type_name = STATIC_MSGTYPE_RENAMES.get(connection.msgtype, connection.msgtype)
        definition, _ = self._store.generate_msgdef(type_name, ros_version=2)
        return Topic(
            name=connection.topic,
            type_name=type_name,
            definition=definition,
            digest=self._store.hash_rihs01(type_name),
            qos=tuple(LATCH) if connection.ext.latching else (),
            count=connection.msgcount,
        )
