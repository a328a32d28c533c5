"""Differences between two results of one recording, frame by frame."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.message_types import PACKAGE, RecordedTypes
from rmpsam_ros.recordings.reading import Recording
from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_id_map, decode_mask

PANOPTIC = f"{PACKAGE}/msg/PanopticSegmentation"
TRACKS = f"{PACKAGE}/msg/InstanceTrackArray"
PROMPTED = f"{PACKAGE}/msg/PromptedMaskArray"
COMPARED = (PANOPTIC, TRACKS, PROMPTED)
KINDS = ("frames", "counts", "ids", "classes", "masks")
Key = tuple[str, int, int]  # topic, stamp in nanoseconds, how many of this stamp came before


@dataclass(frozen=True)
class Change:
    """One thing that changed.

    Attributes:
        kind: one of `KINDS`: a frame that is in one result only, another number of objects,
            another id, another class, or a mask that overlaps too little.
        text: what it was and what it is, for people.
    """

    kind: str
    topic: str
    stamp: int
    text: str

    def __str__(self) -> str:
        """Say it in one line."""
        seconds = f"{self.stamp // 10**9}.{self.stamp % 10**9:09d}"
        return f"{seconds} {self.topic}: {self.text}"


@dataclass
class Comparison:
    """All changes.

    Attributes:
        changes: those of every kind, in the order of the first result.
        frames: messages that were compared.
        ious: overlap of every pair of masks, summed; pairs: how many; lowest: the smallest.
    """

    changes: list[Change] = field(default_factory=list)
    frames: int = 0
    ious: float = 0.0
    pairs: int = 0
    lowest: float = 1.0

    def counts(self) -> Counter[str]:
        """Return how many changes of each kind there are."""
        return Counter(change.kind for change in self.changes)

    def beyond(self, limits: Mapping[str, int]) -> list[str]:
        """Return the kinds with more changes than allowed; a kind without a limit allows none."""
        counts = self.counts()
        return [kind for kind in KINDS if counts[kind] > limits.get(kind, 0)]

    def summary(self) -> str:
        """Say in one line how much changed."""
        counts = self.counts()
        mean = self.ious / self.pairs if self.pairs else 1.0
        kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
        return (
            f"{self.frames} frames compared; changed: {kinds}; mask IoU {mean:.4f} in the mean, "
            f"{self.lowest:.4f} at least"
        )


def compare(first: Path, second: Path, min_iou: float = 0.99) -> Comparison:
    """Compare two results.

    Args:
        min_iou: masks that overlap less count as changed.

    Raises:
        RecordingError: one cannot be read, or holds no results.
    """
    types = RecordedTypes()
    comparison = Comparison()
    with Recording(first) as one, Recording(second) as other:
        for recording in (one, other):
            if not _topics(recording):
                raise RecordingError(f"'{recording.path}' holds no results of {PACKAGE}")
        for key, before, after in _pairs(one, other):
            if before is None or after is None:
                text = "only in the first" if after is None else "only in the second"
                comparison.changes.append(Change("frames", key[0], key[1], text))
                continue
            comparison.frames += 1
            type_name, data = before
            if type_name == after[0] and bytes(data) == bytes(after[1]):
                continue
            _compare_frame(
                comparison,
                key,
                types.deserialize(data, type_name),
                types.deserialize(after[1], after[0]),
                min_iou,
            )
    return comparison


def _topics(recording: Recording) -> set[str]:
    return {topic.name for topic in recording.topics if topic.type_name in COMPARED}


def _pairs(one: Recording, other: Recording) -> Iterator[tuple[Key, Any, Any]]:
    """Yield what belongs together; memory holds only what has come in one of both so far."""
    sides = [_keyed(one), _keyed(other)]
    waiting: tuple[dict[Key, Any], dict[Key, Any]] = ({}, {})
    running = deque([0, 1])
    while running:
        side = running.popleft()
        found = next(sides[side], None)
        if found is None:
            continue
        running.append(side)
        key, content = found
        partner = waiting[1 - side].pop(key, None)
        if partner is None:
            waiting[side][key] = content
        else:
            yield key, *((partner, content) if side else (content, partner))
    for key, content in waiting[0].items():
        yield key, content, None
    for key, content in waiting[1].items():
        yield key, None, content


def _keyed(recording: Recording) -> Iterator[tuple[Key, tuple[str, Any]]]:
    seen: Counter[tuple[str, int]] = Counter()
    for recorded in recording.messages(_topics(recording)):
        # The stamp of the header is what every message begins with.
        seconds, rest = np.frombuffer(recorded.data, "<i4,<u4", 1, 4)[0].tolist()
        stamp = seconds * 1_000_000_000 + rest
        name = recorded.topic.name
        yield (name, stamp, seen[name, stamp]), (recorded.topic.type_name, recorded.data)
        seen[name, stamp] += 1


def _compare_frame(
    comparison: Comparison, key: Key, before: Any, after: Any, min_iou: float
) -> None:
    def change(kind: str, text: str) -> None:
        comparison.changes.append(Change(kind, key[0], key[1], text))

    def overlap(name: str, iou: float) -> None:
        comparison.ious += iou
        comparison.pairs += 1
        comparison.lowest = min(comparison.lowest, iou)
        if iou < min_iou:
            change("masks", f"{name}: IoU {iou:.4f}")

    if before.__msgtype__ != after.__msgtype__:
        change("frames", f"{before.__msgtype__} became {after.__msgtype__}")
    elif before.__msgtype__ == PANOPTIC:
        _compare_panoptic(before, after, change, overlap)
    elif before.__msgtype__ == TRACKS:
        _compare_named(
            {track.id: track for track in before.tracks},
            {track.id: track for track in after.tracks},
            lambda track: f"track {track.id}",
            lambda track: f"{track.class_name}",
            change,
            overlap,
        )
    else:
        _compare_named(
            {mask.object_id: mask for mask in before.masks},
            {mask.object_id: mask for mask in after.masks},
            lambda prompted: f"object '{prompted.object_id}'",
            lambda prompted: "",
            change,
            overlap,
        )


def _compare_panoptic(before: Any, after: Any, change: Any, overlap: Any) -> None:
    """Segments belong together by their pixels: their ids within a frame mean nothing."""
    if (before.height, before.width) != (after.height, after.width):
        change("frames", f"{before.width} x {before.height} became {after.width} x {after.height}")
        return
    if len(before.segments) != len(after.segments):
        change("counts", f"{len(before.segments)} segments became {len(after.segments)}")
    segments = (
        {segment.id: segment for segment in before.segments},
        {segment.id: segment for segment in after.segments},
    )
    for old, new, iou in _matches(_id_map(before), _id_map(after)):
        one, other = segments[0].get(old), segments[1].get(new)
        if one is None or other is None:
            continue
        overlap(one.class_name, iou)
        if one.class_name != other.class_name:
            change("classes", f"{one.class_name} became {other.class_name}")
        if one.track_id != other.track_id:
            change("ids", f"{one.class_name}: track {one.track_id} became {other.track_id}")


def _matches(
    before: NDArray[np.uint16], after: NDArray[np.uint16]
) -> list[tuple[int, int, float]]:
    """Return pairs of ids (not 0) and their IoU, best first, each id once."""
    joint = before.astype(np.uint32) << 16 | after
    values, areas = np.unique(joint, return_counts=True)
    old, new = values >> 16, values & 0xFFFF
    old_areas = dict(zip(*np.unique(before, return_counts=True), strict=True))
    new_areas = dict(zip(*np.unique(after, return_counts=True), strict=True))
    pairs = [
        (int(a), int(b), float(n / (old_areas[a] + new_areas[b] - n)))
        for a, b, n in zip(old.tolist(), new.tolist(), areas.tolist(), strict=True)
        if a and b
    ]
    taken: tuple[set[int], set[int]] = (set(), set())
    matches = []
    for a, b, iou in sorted(pairs, key=lambda pair: (-pair[2], pair)):
        if a not in taken[0] and b not in taken[1]:
            taken[0].add(a)
            taken[1].add(b)
            matches.append((a, b, iou))
    return matches


def _compare_named(
    before: Mapping[Any, Any],
    after: Mapping[Any, Any],
    name: Any,
    kind: Any,
    change: Any,
    overlap: Any,
) -> None:
    """Compare objects that are known by an id."""
    if len(before) != len(after):
        change("counts", f"{len(before)} objects became {len(after)}")
    for key in [*before, *(key for key in after if key not in before)]:
        one, other = before.get(key), after.get(key)
        if one is None or other is None:
            change("ids", f"{name(one or other)} is {'new' if one is None else 'gone'}")
            continue
        if one.state != other.state:
            change("ids", f"{name(one)}: state {one.state} became {other.state}")
        if kind(one) != kind(other):
            change("classes", f"{name(one)}: {kind(one)} became {kind(other)}")
        overlap(name(one), _iou(one.mask, other.mask))


def _iou(before: Any, after: Any) -> float:
    """Return the overlap of two masks; two empty ones are equal."""
    one, other = _mask(before), _mask(after)
    if one.shape != other.shape:
        return 0.0
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _mask(message: Any) -> NDArray[np.bool_]:
    box = message.box
    edges = (box.x_offset, box.y_offset, box.x_offset + box.width, box.y_offset + box.height)
    counts = np.asarray(message.counts, np.uint32)
    try:
        return decode_mask(RunLengthMask(message.height, message.width, edges, counts))
    except ValueError as error:
        raise RecordingError(f"a mask is damaged: {error}") from error


def _id_map(message: Any) -> NDArray[np.uint16]:
    try:
        return decode_id_map(message.run_ids, message.run_lengths, message.height, message.width)
    except ValueError as error:
        raise RecordingError(f"a panoptic segmentation is damaged: {error}") from error
