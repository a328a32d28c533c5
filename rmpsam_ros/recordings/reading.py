"""Reads recordings: rosbag2 (MCAP, sqlite3) and ROS 1 bags, whole or damaged, without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from rosbags.rosbag2 import Reader

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.salvage_mcap import SalvagedMcap
from rmpsam_ros.recordings.salvage_sqlite import SalvagedSqlite
from rmpsam_ros.recordings.topics import Recorded, Topic

STORAGE_SUFFIXES = (".mcap", ".db3")
SUFFIXES = (*STORAGE_SUFFIXES, ".bag")


class Source(Protocol):
    """One way to read a recording."""

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All topics."""

    @property
    def damage(self) -> list[str]:
        """What could not be read, one line each."""

    def messages(self, wanted: set[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics in the order of their times."""

    def close(self) -> None:
        """Close the files."""


class Recording:
    """A recording that is open for reading; a context that closes it.

    What is damaged is left out: reading goes on with what is whole behind it, and `damage` says
    what was lost.

    Raises:
        RecordingError: nothing of it can be read; the message says why.

    Attributes:
        path: as given.
        topics: all topics.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._damage: list[str] = []
        self._source = self._open()
        self.topics = self._source.topics

    @property
    def damage(self) -> tuple[str, ...]:
        """What could not be read so far, one line each, none twice."""
        return tuple(dict.fromkeys([*self._damage, *self._source.damage]))

    def messages(self, wanted: set[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics in the order of their times, from the beginning."""
        last, count = -1, 0  # time of the newest message, and how many had it
        try:
            for message in self._source.messages(wanted):
                last, count = message.time, count + 1 if message.time == last else 1
                yield message
            return
        except Exception as error:  # of any kind: the bytes may be anything
            rest = self._rest(error)
        for message in rest.messages(wanted):
            if message.time < last:
                continue
            if message.time == last and count:
                count -= 1
                continue
            yield message

    def first(self, topic: str) -> Recorded | None:
        """Return the first message of a topic; None: there is none that can be read."""
        messages = self.messages({topic})
        try:
            return next(messages, None)
        finally:
            messages.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def __enter__(self) -> Recording:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    def _open(self) -> Source:
        if not self.path.exists():
            raise RecordingError(f"'{self.path}' does not exist")
        if self.path.suffix == ".bag":
            from rmpsam_ros.recordings.ros1 import Ros1Bag

            return Ros1Bag(self.path)
        if not self.path.is_dir() and self.path.suffix not in STORAGE_SUFFIXES:
            raise RecordingError(
                f"'{self.path}' is no recording; expected a rosbag2 folder, or a file that ends "
                f"with {', '.join(SUFFIXES)}"
            )
        try:
            return Rosbag2(self.path)
        except PermissionError as error:
            raise RecordingError(f"'{self.path}' may not be read: {error.strerror}") from error
        except Exception as error:
            whole = _reason(error)
        salvaged = Salvaged(self.path, whole)
        if not salvaged.topics:
            raise RecordingError(
                f"'{self.path}' cannot be read: {'; '.join([whole, *salvaged.damage])}"
            )
        return salvaged

    def _rest(self, error: Exception) -> Source:
        """Return what reads a recording on whose way an error came."""
        if isinstance(self._source, Salvaged):
            raise error
        salvaged = Salvaged(self.path, _reason(error))
        self._damage.extend(self._source.damage)
        self._source.close()
        self._source = salvaged
        return salvaged


class Rosbag2:
    """A rosbag2 folder or one of its files, whole."""

    def __init__(self, path: Path) -> None:
        self.damage: list[str] = []
        self._reader = Reader(path)
        self._reader.open()
        self._topics: dict[int, Topic] = {}
        for connection in self._reader.connections:
            self._topics[connection.id] = Topic(
                name=connection.topic,
                type_name=connection.msgtype,
                definition=connection.msgdef.data,
                digest=connection.digest,
                qos=tuple(getattr(connection.ext, "offered_qos_profiles", ())),
                count=connection.msgcount,
                encoding=getattr(connection.ext, "serialization_format", "cdr"),
            )
        self.topics = tuple(self._topics.values())

    def messages(self, wanted: set[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics in the order of their times."""
        connections = [
            connection for connection in self._reader.connections if connection.topic in wanted
        ]
        if not connections:
            return
        for connection, time, data in self._reader.messages(connections):
            yield Recorded(self._topics[connection.id], time, data)

    def close(self) -> None:
        """Close the files."""
        if self._reader.is_open:
            self._reader.close()


class Salvaged:
    """What is left of a damaged rosbag2: its files one after the other, each as far as it goes.

    reason: why it cannot be read as a whole.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self._damage = [reason]
        self._files: list[Source] = []
        for file in _files(path):
            try:
                source = _salvaged(file)
            except Exception as error:
                self._damage.append(f"{file.name}: {_reason(error)}")
                continue
            self._files.append(source)
        self.topics = _merged(topic for file in self._files for topic in file.topics)

    @property
    def damage(self) -> list[str]:
        """What could not be read so far, one line each."""
        return [*self._damage, *(line for file in self._files for line in file.damage)]

    def messages(self, wanted: set[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics, file by file."""
        for source in self._files:
            yield from source.messages(wanted)

    def close(self) -> None:
        """Close the files."""
        for source in self._files:
            source.close()


def _salvaged(file: Path) -> Source:
    return SalvagedMcap(file) if file.suffix == ".mcap" else SalvagedSqlite(file)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES)


def _merged(topics: Iterator[Topic]) -> tuple[Topic, ...]:
    """Return every topic once, with the sum of its counts."""
    merged: dict[tuple[str, str], Topic] = {}
    for topic in topics:
        key = (topic.name, topic.type_name)
        known = merged.get(key)
        counts = [seen.count for seen in (known, topic) if seen is not None]
        merged[key] = topic.counted(None if None in counts else sum(filter(None, counts)))
    return tuple(merged.values())


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    known: Any = type(error).__module__.split(".")[0] == "rosbags" or isinstance(error, OSError)
    return text if known else f"{type(error).__name__}: {text}"
