"""Results of a video as YouTube-VIS and its evaluation tools have them: a list of tracks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rmpsam_ros.pipeline.results import FrameResult
from rmpsam_ros.segmentation.coco_run_length import encode_coco
from rmpsam_ros.tracking import TrackState


@dataclass
class _Track:
    """What is known of one track: scores of its classes summed over frames, masks by frame."""

    votes: dict[int, float] = field(default_factory=dict)
    masks: dict[int, dict[str, Any]] = field(default_factory=dict)
    confirmed: bool = False


class VisResults:
    """Collects the tracks of one video, frame by frame, as compressed run lengths.

    What is given of every track that was ever confirmed: ``video_id``; ``category_id``, the class
    with the largest sum of scores, counted from 1 in the order of the label set (with the label
    set youtube_vis_2019 that is the official numbering); ``score``, the mean probability of that
    class over the frames that show the track; ``segmentations``, a COCO run-length mask or null
    for every frame of the video.
    """

    def __init__(self, video_id: int = 1) -> None:
        self._video_id = video_id
        self._tracks: dict[int, _Track] = {}
        self._num_frames = 0

    def add(self, result: FrameResult) -> None:
        """Take in the next frame."""
        segments = {segment.id: segment for segment in result.panoptic.segments}
        confirmed = {track.id for track in result.tracks if track.state is TrackState.CONFIRMED}
        for segment_id, track_id in result.track_ids.items():
            segment = segments[segment_id]
            track = self._tracks.setdefault(track_id, _Track())
            score = track.votes.get(segment.class_id, 0.0) + float(segment.score)
            track.votes[segment.class_id] = score
            track.masks[self._num_frames] = encode_coco(result.track_masks[track_id])
            track.confirmed |= track_id in confirmed
        self._num_frames += 1

    def to_json(self) -> list[dict[str, Any]]:
        """Return the tracks, best score first."""
        entries = [self._entry(track) for track in self._tracks.values() if track.confirmed]
        return sorted(entries, key=lambda entry: -entry["score"])

    def _entry(self, track: _Track) -> dict[str, Any]:
        class_id = max(track.votes, key=track.votes.__getitem__)
        return {
            "video_id": self._video_id,
            "category_id": class_id + 1,
            "score": min(1.0, track.votes[class_id] / len(track.masks)),
            "segmentations": [track.masks.get(k) for k in range(self._num_frames)],
        }
