"""Query matching, near-online clips and live instance tracks (NumPy and SciPy only).

Examples:
    >>> import numpy as np
    >>> from rmpsam_ros.tracking import Detection, QueryTracker, match_clip_queries, split_clips
    >>> match_clip_queries(np.eye(3), np.eye(3)[[2, 0, 1]]).tolist()
    [1, 2, 0]

    >>> tracker, queries = QueryTracker(), np.eye(4, dtype=np.float32)
    >>> seen = Detection(1, query=2, class_id=0, score=0.9, box=(10, 10, 20, 30))
    >>> [tracker.update(stamp, queries, [seen])[0].id for stamp in (0.0, 0.1)]
    [1, 1]

    >>> split_clips(17, clip_size=5)
    ((0, 5), (5, 9), (9, 13), (13, 17))
"""

from rmpsam_ros.tracking.clip_window import ClipWindow
from rmpsam_ros.tracking.clips import (
    AlignedVideo,
    ClipPrediction,
    align_clips,
    align_queries,
    clip_size_for,
    match_clip_queries,
    split_clips,
)
from rmpsam_ros.tracking.matching import cosine_similarity
from rmpsam_ros.tracking.records import Detection, Track, TrackerConfig, TrackState
from rmpsam_ros.tracking.tracks import QueryTracker

__all__ = [
    "AlignedVideo",
    "ClipPrediction",
    "ClipWindow",
    "Detection",
    "QueryTracker",
    "Track",
    "TrackState",
    "TrackerConfig",
    "align_clips",
    "align_queries",
    "clip_size_for",
    "cosine_similarity",
    "match_clip_queries",
    "split_clips",
]
