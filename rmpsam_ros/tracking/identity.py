"""The tracker's memory of one thing, apart from its mean query."""

from __future__ import annotations

import math

from rmpsam_ros.tracking.association import Box
from rmpsam_ros.tracking.records import Detection, Track, TrackerConfig, TrackState

_QUERY_SECONDS = 2.0  # after this time a query weighs 1/e in the mean query of a thing
_CLASS_MARGIN = 1.25  # times as many votes another class needs; fading makes the newest weigh more
_MIN_VOTE_SHARE = 1e-3  # classes with less than this share of the votes are forgotten


class Identity:
    """One thing, seen or unseen in the newest frame.

    Attributes:
        id: track id.
        row: where the tracker keeps its mean query.
        query: its object query in the newest frame, -1 when unseen.
        segment_id: its segment in the newest frame, 0 when unseen.
        box: its last box, or None.
        class_votes: decayed sum of scores by class, bounded by dropping small shares.
    """

    __slots__ = (
        "_frame_weight",
        "_hits",
        "box",
        "class_id",
        "class_votes",
        "confirmed",
        "first_seen",
        "id",
        "last_seen",
        "query",
        "row",
        "segment_id",
    )

    def __init__(self, identifier: int, row: int, now: float) -> None:
        self.id = identifier
        self.row = row
        self.query = -1
        self.segment_id = 0
        self.box: Box | None = None
        self.confirmed = False
        self.class_id = 0
        self.class_votes: dict[int, float] = {}
        self.last_seen = now
        self.first_seen = now
        self._frame_weight = 0.0
        self._hits = 0

    def observe(self, detection: Detection, now: float, config: TrackerConfig) -> float:
        """Take over what a detection of the newest frame says, and return the query's weight.

        The weight in the mean query is that of a plain mean at first, later that of a mean that
        fades with time, so that dropped frames make no difference; and it is 0, and nothing is
        counted, when the thing was already seen at this moment (a frame that came twice).
        """
        self.query = detection.query
        self.segment_id = detection.segment_id
        self.box = detection.box
        elapsed = now - self.last_seen
        if self._hits > 0 and elapsed <= 0.0:
            return 0.0
        self.last_seen = now
        self._hits += 1
        self.confirmed = self._hits >= config.confirm_hits
        self._vote(detection.class_id, detection.score, math.exp(-elapsed / config.vote_seconds))
        return max(1.0 / self._hits, 1.0 - math.exp(-elapsed / _QUERY_SECONDS))

    def miss(self) -> None:
        """Note that the newest frame does not show this thing."""
        self.query = -1
        self.segment_id = 0

    def _vote(self, class_id: int, score: float, fading: float) -> None:
        """Add a class vote; the present class stays until another one has clearly more."""
        self._frame_weight = self._frame_weight * fading + 1.0
        least = _MIN_VOTE_SHARE * self._frame_weight
        faded = ((known, vote * fading) for known, vote in self.class_votes.items())
        votes = {known: vote for known, vote in faded if vote >= least}
        votes[class_id] = votes.get(class_id, 0.0) + score
        self.class_votes = votes
        best = max(votes, key=votes.__getitem__)
        if votes[best] > _CLASS_MARGIN * votes.get(self.class_id, -1.0):
            self.class_id = best

    def report(self) -> Track | None:
        """Return the track as it is now; None for a tentative one that the frame does not show."""
        if self.segment_id:
            state = TrackState.CONFIRMED if self.confirmed else TrackState.TENTATIVE
        elif self.confirmed:
            state = TrackState.LOST
        else:
            return None
        return Track(
            id=self.id,
            state=state,
            class_id=self.class_id,
            score=min(1.0, self.class_votes[self.class_id] / self._frame_weight),
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            hits=self._hits,
            segment_id=self.segment_id,
        )
