"""Reads what is left of a damaged MCAP file: every chunk that is whole, in the order of the file.

No index is needed. A chunk that cannot be unpacked is left out; where the structure of the file
itself breaks off, reading ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from rmpsam_ros.recordings.topics import Recorded, Topic

MAX_RECORD = 2**30  # bytes; a longer one is a damaged length, and no memory for it


class SalvagedMcap:
    """One damaged MCAP file.

    Attributes:
        topics: what was found in the part that can be read, with the number of messages.
        damage: what could not be read, one line each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damage: list[str] = []
        self._channels: dict[int, Topic] = {}
        counts: dict[int, int] = {}
        for record in self._records(self.damage):
            if isinstance(record, Message):
                counts[record.channel_id] = counts.get(record.channel_id, 0) + 1
        self.topics = tuple(
            topic.counted(counts.get(channel, 0)) for channel, topic in self._channels.items()
        )

    def messages(self, wanted: set[str]) -> Iterator[Recorded]:
        """Yield the messages of some topics, sorted by time within each chunk."""
        for batch in self._batches([]):
            for record in sorted(batch, key=lambda record: record.log_time):
                topic = self._channels.get(record.channel_id)
                if topic is not None and topic.name in wanted:
                    yield Recorded(topic, record.log_time, record.data)

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def _batches(self, damage: list[str]) -> Iterator[list[Any]]:
        """Yield the messages of every chunk, and single ones that lie outside of chunks."""
        batch: list[Any] = []
        for record in self._records(damage):
            if isinstance(record, Message):
                batch.append(record)
            elif record is None and batch:
                yield batch
                batch = []
        if batch:
            yield batch

    def _records(self, damage: list[str]) -> Iterator[Any]:
        """Yield messages, and None behind each chunk; keep the channels."""
        schemas: dict[int, Schema] = {}
        try:
            with self._path.open("rb") as file:
                reader = StreamReader(file, emit_chunks=True, record_size_limit=MAX_RECORD)
                for record in reader.records:
                    if isinstance(record, Chunk):
                        yield from self._of_chunk(record, schemas, damage)
                        yield None
                    elif not self._note(record, schemas) and isinstance(record, Message):
                        yield record
                        yield None
        except Exception as error:  # of any kind: the bytes may be anything
            place = f"{self._path.name} breaks off"
            damage.append(f"{place}: {type(error).__name__} {error}".strip())

    def _of_chunk(
        self, chunk: Chunk, schemas: dict[int, Schema], damage: list[str]
    ) -> Iterator[Message]:
        try:
            records = breakup_chunk(chunk, validate_crc=True)
        except Exception as error:
            seconds = (chunk.message_end_time - chunk.message_start_time) * 1e-9
            damage.append(
                f"{self._path.name}: {seconds:.3f} s from {chunk.message_start_time} ns on are "
                f"lost in a damaged chunk: {error}"
            )
            return
        for record in records:
            if not self._note(record, schemas) and isinstance(record, Message):
                yield record

    def _note(self, record: Any, schemas: dict[int, Schema]) -> bool:
        """Keep a schema or channel; tell whether it was such a record."""
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            schema = schemas.get(record.schema_id)
            if schema is not None and record.id not in self._channels:
                self._channels[record.id] = Topic(
                    name=record.topic,
                    type_name=schema.name,
                    definition=schema.data.decode("utf-8", "replace"),
                    encoding=record.message_encoding,
                )
        else:
            return False
        return True
