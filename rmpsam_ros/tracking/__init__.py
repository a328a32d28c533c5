"""Query matching, near-online clips and live instance tracks (NumPy and SciPy only)."""

from rmpsam_ros.tracking.clip_window import ClipWindow
from rmpsam_ros.tracking.clips import (
    AlignedVideo,
    ClipPrediction,
    align_clips,
    align_queries,
    clip_size_for,
    split_clips,
)
from rmpsam_ros.tracking.matching import cosine_similarity, match_queries
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
    "match_queries",
    "split_clips",
]
