"""Reads what is left of a damaged sqlite3 file: messages as written, up to the damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from rmpsam_ros.recordings.topics import Recorded, Topic


class SalvagedSqlite:
    """One damaged file of a rosbag2.

    Attributes:
        topics: all topics; how many messages are left of each is unknown.
        damage: what could not be read, one line each.

    Raises:
        sqlite3.Error: not even the topics can be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damage: list[str] = []
        self._topics: dict[int, Topic] = {}
        with closing(self._connect()) as database:
            definitions: dict[str, str] = {}
            with suppress(sqlite3.Error):  # older recordings have none
                definitions = dict(
                    database.execute(
                        "SELECT topic_type, encoded_message_definition FROM message_definitions"
                    )
                )
            for key, name, kind, encoding in database.execute(
                "SELECT id, name, type, serialization_format FROM topics"
            ):
                self._topics[key] = Topic(
                    name, kind, definition=definitions.get(kind, ""), encoding=encoding
                )
        self.topics = tuple(self._topics.values())

    def messages(self, wanted: set[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics in the order in which they were written."""
        with closing(self._connect()) as database:
            rows = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id")
            try:
                for key, time, data in rows:
                    topic = self._topics.get(key)
                    if topic is not None and topic.name in wanted:
                        yield Recorded(topic, time, data)
            except sqlite3.Error as error:
                self.damage.append(f"{self._path.name} breaks off: {error}")

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(f"file:{quote(str(self._path))}?immutable=1", uri=True)
        # Without it, a file that is shorter than it says is not looked at at all.
        database.execute("PRAGMA writable_schema = ON")
        return database
