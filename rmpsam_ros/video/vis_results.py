"""Results of a video as YouTube-VIS and its evaluation tools have them: a list of tracks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rmpsam_ros.pipeline.results import FrameResult
from rmpsam_ros.prompting.observation import crop
from rmpsam_ros.segmentation.run_length import RunLengthMask
from rmpsam_ros.tracking import TrackState

_SIGN_BIT = 0x10


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


def encode_coco(mask: RunLengthMask) -> dict[str, Any]:
    """Return a mask as COCO has it: ``size`` [height, width] and ``counts``, packed into text.

    The counts are run lengths down the columns of the whole image, zeros first.
    """
    x_min, y_min, x_max, y_max = mask.box
    columns = np.zeros((x_max - x_min, mask.height), np.int8)
    columns[:, y_min:y_max] = crop(mask).T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=0, append=0)) + x_min * mask.height
    runs = np.diff(np.array([0, *edges, mask.height * mask.width]))
    if len(runs) > 1 and runs[-1] == 0:
        runs = runs[:-1]
    return {"size": [mask.height, mask.width], "counts": pack(runs.tolist())}


def pack(runs: Iterable[int]) -> str:
    """Write run lengths as COCO does: 5 bits per character, from the fourth on as differences.

    A difference is to the run before the last, which is of the same value.
    """
    text: list[str] = []
    earlier: list[int] = []
    for run in runs:
        value = run - earlier[-2] if len(earlier) > 2 else run
        earlier.append(run)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & _SIGN_BIT else 0)
            text.append(chr(48 + (bits | 0x20 if more else bits)))
    return "".join(text)
