"""The live tracker: things keep their id from frame to frame by matching the object queries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.tracking.association import (
    box_overlap,
    embed_queries,
    match_frame_queries,
    reidentify,
)
from rmpsam_ros.tracking.identity import Identity
from rmpsam_ros.tracking.matching import unit_rows
from rmpsam_ros.tracking.records import Detection, Track, TrackerConfig

_BOX_SECONDS = 0.5  # after this time a last known box weighs 1/e
_PAUSE_SECONDS = 5.0  # frames further apart than this (and than the memory) are not one video
_ROUNDING = 1e-5  # a float32 softmax can come out above 1 by this much


class QueryTracker:
    """Follow things through frames that come at any pace.

    Each frame goes through two steps. First all N queries are matched with all N of the frame
    before (Hungarian method, cosine), and a track whose query goes on as the query of a detection
    goes on with it. Then detections that nobody continued are compared with the mean queries of
    the things that are out of sight; what is similar enough and of an agreeing class is the same
    thing again, anything else is a new one. While a thing is tentative, this is tried again in
    every frame: what comes out from behind an occluder is seen in part at first, and recognised
    only when more of it shows; its tentative id is then given up.

    Every detection is part of exactly one track. Ids count up from 1 and are never used again, not
    after `reset` either. Memory is bounded by N + ``memory_size`` things. Not thread-safe.

    Attributes:
        embeddings: (N, D) float32, what `embed_queries` makes of the newest frame's queries;
            (0, 0) before the first frame. An array of its own for every frame.
    """

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self._config = config or TrackerConfig()
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget all things; the ids of later ones go on counting."""
        self._now: float | None = None
        self._things: dict[int, Identity] = {}  # by id, oldest first
        self.embeddings = np.empty((0, 0), np.float32)
        self._mean_queries = np.empty((0, 0), np.float32)  # (N + memory_size, D)
        self._free_rows: list[int] = []

    def update(
        self,
        stamp: float,
        queries: NDArray[np.floating],
        detections: Sequence[Detection],
    ) -> tuple[Track, ...]:
        """Take in one frame and return the tracks, ordered by id.

        A stamp that goes back by more than ``backward_jump`` resets the tracker first. One that is
        equal to the last, or goes back by less, counts as the same moment: ids are given as ever,
        but what was already seen at that moment is not counted twice.

        Args:
            stamp: time of the frame in seconds.
            queries: (N, D) the object adapter's queries; rows may be NaN.
            detections: the thing segments of this frame.

        Returns:
            All tracks seen in this frame, and the confirmed ones that are lost but remembered.

        Raises:
            ValueError: a stamp that is not finite, queries of another shape than before, or a
                detection that cannot be; the tracker is then unchanged.
        """
        queries = np.asarray(queries)
        self._check(stamp, queries, detections)
        self._advance(stamp)
        embeddings = embed_queries(queries)
        if not self.embeddings.size:
            self._allocate(*embeddings.shape)
        self._forget_old()
        owners = self._associate(embeddings, detections)
        self._settle_unseen(owners)
        self._place(embeddings, detections, owners)
        self.embeddings = embeddings
        reports = (thing.report() for thing in self._things.values())
        return tuple(track for track in reports if track is not None)

    def _check(
        self, stamp: float, queries: NDArray[np.floating], detections: Sequence[Detection]
    ) -> None:
        if not math.isfinite(stamp):
            raise ValueError(f"got stamp {stamp}; expected a finite time in seconds")
        if queries.ndim != 2 or 0 in queries.shape:
            raise ValueError(f"got queries of shape {queries.shape}; expected (N, D)")
        if self.embeddings.size and queries.shape != self.embeddings.shape:
            raise ValueError(
                f"got queries of shape {queries.shape} after {self.embeddings.shape}; "
                "expected those of one network: call reset() before changing it"
            )
        check_detections(detections, len(queries))

    def _advance(self, stamp: float) -> None:
        """Move the clock, which never goes back but in a reset."""
        if self._now is not None and stamp < self._now - self._config.backward_jump:
            self.reset()
        self._now = stamp if self._now is None else max(stamp, self._now)

    def _allocate(self, num_queries: int, width: int) -> None:
        capacity = num_queries + self._config.memory_size
        self._mean_queries = np.zeros((capacity, width), np.float32)
        self._free_rows = list(range(capacity))

    def _unseen_for(self, thing: Identity) -> float:
        """Return the seconds since the thing was last seen."""
        assert self._now is not None
        return self._now - thing.last_seen

    def _forget(self, things: Iterable[Identity]) -> None:
        for thing in things:
            del self._things[thing.id]
            self._free_rows.append(thing.row)

    def _forget_old(self) -> None:
        """Forget what is out of memory, and everything after a pause too long for a frame rate."""
        memory = self._config.memory_seconds
        pause = max(memory, _PAUSE_SECONDS)
        things = list(self._things.values())
        self._forget(x for x in things if self._unseen_for(x) > (memory if x.query < 0 else pause))

    def _associate(
        self, embeddings: NDArray[np.float32], detections: Sequence[Detection]
    ) -> list[Identity | None]:
        """Return the known thing that each detection is, None for a new one."""
        owners: list[Identity | None] = [None] * len(detections)
        seen = [thing for thing in self._things.values() if thing.query >= 0]
        if seen and detections:
            pairs = match_frame_queries(
                self.embeddings,
                embeddings,
                np.array([thing.query for thing in seen], np.intp),
                np.array([detection.query for detection in detections], np.intp),
                self._box_bonus(seen, detections),
                self._config.continue_similarity,
            )
            for thing_index, k in pairs:
                owners[k] = seen[thing_index]
        self._bring_back(embeddings, detections, owners)
        return owners

    def _bring_back(
        self,
        embeddings: NDArray[np.float32],
        detections: Sequence[Detection],
        owners: list[Identity | None],
    ) -> None:
        """Give detections that are new or tentative to the things out of sight that they are."""
        owned = {thing.id for thing in owners if thing is not None}
        missing = [thing for thing in self._things.values() if thing.id not in owned]
        open_ = [k for k, x in enumerate(owners) if x is None or not x.confirmed]
        if not missing or not open_:
            return
        candidates = [detections[k] for k in open_]
        holders = [owners[k] for k in open_]
        means = unit_rows(self._mean_queries[[thing.row for thing in missing]])
        affinity = means @ embeddings[[detection.query for detection in candidates]].T
        affinity += self._box_bonus(missing, candidates)
        # Two that were in one frame are not the same thing, however much they look it.
        last_seen = np.array([thing.last_seen for thing in missing])
        owner_born = np.array([math.inf if x is None else x.first_seen for x in holders])
        allowed = classes_agree(missing, candidates) & (last_seen[:, None] < owner_born)
        for i, j in reidentify(affinity, allowed, self._config.reid_similarity):
            superseded = holders[j]
            if superseded is not None:
                self._forget([superseded])
            owners[open_[j]] = missing[i]

    def _box_bonus(
        self, things: Sequence[Identity], detections: Sequence[Detection]
    ) -> NDArray[np.float32]:
        """Return (things, detections) the similarity that overlapping boxes add."""
        overlap = box_overlap([x.box for x in things], [x.box for x in detections])
        ages = np.array([self._unseen_for(x) for x in things], np.float32)
        return overlap * (self._config.box_weight * np.exp(-ages / _BOX_SECONDS))[:, None]

    def _settle_unseen(self, owners: Sequence[Identity | None]) -> None:
        """Mark the things that this frame does not show, and bound what is remembered of them."""
        owned = {thing.id for thing in owners if thing is not None}
        unseen = [thing for thing in self._things.values() if thing.id not in owned]
        for thing in unseen:
            thing.miss()
        limit = self._config.tentative_seconds
        self._forget([x for x in unseen if not x.confirmed and self._unseen_for(x) > limit])
        kept = [thing for thing in unseen if thing.id in self._things]
        kept.sort(key=lambda x: (x.confirmed, x.last_seen))
        self._forget(kept[: max(0, len(kept) - self._config.memory_size)])

    def _place(
        self,
        embeddings: NDArray[np.float32],
        detections: Sequence[Detection],
        owners: Sequence[Identity | None],
    ) -> None:
        """Write the detections into their things, making new ones where there is none."""
        if not detections:
            return
        assert self._now is not None
        rows, weights = [], []
        for detection, owner in zip(detections, owners, strict=True):
            thing = owner or self._create()
            rows.append(thing.row)
            weights.append(thing.observe(detection, self._now, self._config))
        share = np.array(weights, np.float32)[:, None]
        means = self._mean_queries[rows]
        newest = embeddings[[detection.query for detection in detections]]
        self._mean_queries[rows] = means + share * (newest - means)

    def _create(self) -> Identity:
        assert self._now is not None
        thing = Identity(self._next_id, self._free_rows.pop(), self._now)
        self._next_id += 1
        self._things[thing.id] = thing
        return thing


def classes_agree(
    things: Sequence[Identity], detections: Sequence[Detection]
) -> NDArray[np.bool_]:
    """Return (things, detections) whether the thing was lately seen as the detection's class."""
    classes = [detection.class_id for detection in detections]
    agrees = {c: [c in thing.class_votes for thing in things] for c in set(classes)}
    return np.array([agrees[c] for c in classes], np.bool_).T


def check_detections(detections: Sequence[Detection], num_queries: int) -> None:
    """Raise ValueError for detections that cannot come from one panoptic result."""
    for detection in detections:
        if detection.segment_id < 1 or detection.class_id < 0:
            raise ValueError(f"got {detection}; expected a segment id from 1, a class id from 0")
        if not 0 <= detection.query < num_queries:
            raise ValueError(f"got {detection}; expected a query from 0 to {num_queries - 1}")
        if not 0.0 <= detection.score <= 1.0 + _ROUNDING:
            raise ValueError(f"got {detection}; expected a score from 0 to 1")
        box = detection.box
        if box is not None and not (len(box) == 4 and all(map(math.isfinite, box))):
            raise ValueError(f"got {detection}; expected a box of four finite numbers, or None")
    for name in ("segment_id", "query"):
        if len({getattr(detection, name) for detection in detections}) < len(detections):
            raise ValueError(f"got two detections with one {name}; expected one of each")
