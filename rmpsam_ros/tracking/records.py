"""Inputs, outputs and configuration of the tracker."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from rmpsam_ros import defaults


class TrackState(IntEnum):
    """State of a track; the values are those of the InstanceTrack message."""

    TENTATIVE = 1  # seen in this frame, but not yet often enough to be relied on
    CONFIRMED = 2  # seen in this frame
    LOST = 3  # was confirmed; not seen in this frame, remembered and may come back


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing segment that survived panoptic fusion in one frame.

    Attributes:
        segment_id: id of the segment in this frame, at least 1, unique in the frame.
        query: index of its object query, unique in the frame.
        class_id: class of the segment in this frame.
        score: class probability in this frame, 0 to 1.
        box: (x_min, y_min, x_max, y_max) in pixels, right and bottom exclusive, or None.
    """

    segment_id: int
    query: int
    class_id: int
    score: float
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """One thing followed over time, as it is after one frame.

    Attributes:
        id: at least 1, never given to another thing while the tracker lives.
        state: tentative, confirmed or lost.
        class_id: the class that most of the recent frames agree on, weighted by score; it changes
            only when another class has clearly more.
        score: mean probability of that class over the recent frames, 0 to 1; a frame in which
            another class won counts as 0.
        first_seen: time of the first frame with this thing, seconds.
        last_seen: time of the newest frame with this thing, seconds.
        hits: frames in which the thing was seen.
        segment_id: its segment in this frame; 0 when lost.
    """

    id: int
    state: TrackState
    class_id: int
    score: float
    first_seen: float
    last_seen: float
    hits: int
    segment_id: int


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Settings of the tracker; times are seconds, never numbers of frames.

    Similarities are those of `embed_queries`: 1 the same direction, about 0 two queries that have
    nothing in common.

    Attributes:
        confirm_hits: frames in which a thing must have been seen to be confirmed.
        tentative_seconds: a tentative track unseen for longer is forgotten.
        memory_seconds: a confirmed track unseen for longer is forgotten; until then it is lost.
            A pause between two frames that is longer (and longer than 5 s) ends all tracks.
        memory_size: most unseen tracks remembered; the oldest (tentative first) are forgotten.
        continue_similarity: least similarity with the query of the frame before.
        reid_similarity: least similarity with the remembered mean query to come back.
        box_weight: what a perfectly overlapping, fresh box adds to a similarity.
        vote_seconds: after this time a frame's class vote weighs 1/e.
        backward_jump: a time stamp that goes back by more than this resets the tracker; one that
            goes back by less counts as the same moment (clock jitter, frames out of order).
    """

    confirm_hits: int = defaults.CONFIRM_HITS
    tentative_seconds: float = 1.0
    memory_seconds: float = defaults.MEMORY_SECONDS
    memory_size: int = 64
    continue_similarity: float = 0.4
    reid_similarity: float = 0.6
    box_weight: float = 0.2
    vote_seconds: float = 5.0
    backward_jump: float = defaults.BACKWARD_JUMP

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that makes no sense."""
        limits: dict[str, tuple[float, float]] = {
            "confirm_hits": (1, math.inf),
            "tentative_seconds": (0.0, math.inf),
            "memory_seconds": (0.0, math.inf),
            "memory_size": (0, math.inf),
            "continue_similarity": (0.0, 1.0),
            "reid_similarity": (0.0, 1.0),
            "box_weight": (0.0, 1.0),
            "vote_seconds": (1e-3, math.inf),
            "backward_jump": (0.0, math.inf),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} is {value}; expected a number from {low:g} to {high:g}")
