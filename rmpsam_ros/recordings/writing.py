"""Writes a rosbag2."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_types_from_idl, get_types_from_msg

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.message_types import RecordedTypes, new_store
from rmpsam_ros.recordings.topics import Recorded

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
VERSION: Literal[8] = 8  # of the metadata: that of ROS 2 Jazzy, which newer ones read too
_FOREVER = QosTime(9223372036, 854775807)
_IDL_SEPARATOR = "=" * 80 + "\n"


class BagWriter:
    """A rosbag2 being written; a context that completes it.

    MCAP is compressed (zstd), sqlite3 is not. The bytes depend on what is written only, not on
    when.

    Args:
        folder: where, which must not exist.
        storage: mcap or sqlite3.
        types: message classes of the messages that are written.

    Attributes:
        refused: topics that could not be copied, with the reason.
    """

    def __init__(self, folder: Path, storage: str, types: RecordedTypes) -> None:
        self._types = types
        self._writer = Writer(folder, version=VERSION, storage_plugin=STORAGES[storage])
        if storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[tuple[str, str], Connection | None] = {}
        self.refused: dict[str, str] = {}

    def __enter__(self) -> BagWriter:
        """Begin the files."""
        self._writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        """Complete the files, or leave them as they are after an error."""
        if kind is not None:
            self._writer.abort()
            return
        try:
            self._writer.close()
        except sqlite3.Error as error:
            raise OSError(f"sqlite3: {error}") from error

    def write(self, topic: str, time: int, message: Any, latched: bool = False) -> None:
        """Write a message of `types`; time: nanoseconds; latched: late subscribers get it too."""
        key = (topic, message.__msgtype__)
        connection = self._connections.get(key)
        if connection is None:
            connection = self._writer.add_connection(
                topic,
                message.__msgtype__,
                typestore=self._types.store,
                offered_qos_profiles=[_qos(latched)],
            )
            self._connections[key] = connection
        self._put(connection, time, self._types.serialize(message))

    def copy(self, recorded: Recorded) -> None:
        """Write a message of a recording as it is; one of a type without definition is refused."""
        topic = recorded.topic
        key = (topic.name, topic.type_name)
        if key not in self._connections:
            self._connections[key] = self._connect(recorded)
        connection = self._connections[key]
        if connection is not None:
            self._put(connection, recorded.time, recorded.data)

    def _put(self, connection: Connection, time: int, data: bytes | memoryview) -> None:
        try:
            self._writer.write(connection, time, data)
        except sqlite3.Error as error:
            raise OSError(f"sqlite3: {error}") from error

    def _connect(self, recorded: Recorded) -> Connection | None:
        topic = recorded.topic
        if topic.encoding != "cdr":
            self.refused[topic.name] = f"its messages are {topic.encoding}; expected cdr"
            return None
        try:
            definition, digest = self._described(recorded)
        except RecordingError as error:
            self.refused[topic.name] = str(error)
            return None
        return self._writer.add_connection(
            topic.name,
            topic.type_name,
            msgdef=definition,
            rihs01=digest,
            offered_qos_profiles=list(topic.qos) or [_qos(topic.name == "/tf_static")],
        )

    def _described(self, recorded: Recorded) -> tuple[str, str]:
        """Return definition and hash of a recorded type."""
        topic = recorded.topic
        if topic.definition and topic.digest:
            return topic.definition, topic.digest
        store = self._types.store
        if topic.definition:
            store = new_store()
            try:
                store.register(_parsed(topic.definition, topic.type_name))
            except Exception as error:  # of several kinds, by what the definition holds
                raise RecordingError(f"{topic.type_name} has a damaged definition: {error}") from (
                    error
                )
        elif topic.type_name not in store.fielddefs:
            raise RecordingError(f"the recording holds no definition of {topic.type_name}")
        definition, _ = store.generate_msgdef(topic.type_name, ros_version=2)
        return topic.definition or definition, store.hash_rihs01(topic.type_name)


def _parsed(definition: str, type_name: str) -> dict[str, Any]:
    if not definition.startswith(f"{_IDL_SEPARATOR}IDL: "):
        return dict(get_types_from_msg(definition, type_name))
    found: dict[str, Any] = {}
    for part in definition.split(_IDL_SEPARATOR)[1:]:
        found.update(get_types_from_idl(part.partition("\n")[2]))
    return found


def _qos(latched: bool) -> Qos:
    """Return what the node's publishers offer (see `rmpsam_ros.node.qos`)."""
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 5,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )
