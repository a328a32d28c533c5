"""The paper's inference for whole videos, by which its figures on YouTube-VIS are made.

The video is cut into clips without overlap; each is decoded as a tube; the queries of a clip are
matched with those of the clip before, and class logits are averaged over clips (paper section 3.2;
docs/reference/rmpsam.md, section 12). What comes out is one list of at most 100 pairs of query and
class for all frames. There are no thresholds, no states and no memory: it is a benchmark's
procedure, which sees the whole video before it says anything. What a robot gets are the tracks of
the live pipeline.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.runtime import Engine
from rmpsam_ros.segmentation.coco_run_length import encode_coco
from rmpsam_ros.segmentation.instances import extract_instances
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.tracking import (
    ClipPrediction,
    align_clips,
    clip_size_for,
    split_clips,
)

MAX_FRAMES = 10_000  # run lengths of all tracks in a frame take up to 0.1 MB
MAX_KEPT_FRAMES = 300  # of which the masks of all queries are kept: 8 MB each at 640x480
MAX_TRACKS = 100


class LengthError(ValueError):
    """A video of which the results would take too much memory."""


def near_online_results(
    engine: Engine,
    frames: Callable[[], Iterable[NDArray[np.uint8]]],
    num_frames: int,
    limits: tuple[int, int],
    label_set: LabelSet,
    clip_size: int = 0,
    video_id: int = 1,
) -> list[dict[str, Any]]:
    """Return the tracks of a whole video, best score first, as `VisResults` gives them.

    Scores are the mean over all frames of class probability times mask quality, as the official
    evaluation has them. The classes are known only at the end: the masks of a video of up to
    MAX_KEPT_FRAMES are kept until then, a longer one goes through the network twice.

    Args:
        engine: made for tubes of the clip size.
        frames: gives the frames, BGR, (H, W, 3), all of one size, every time it is called.
        num_frames: how many there are, 1 to MAX_FRAMES.
        limits: long and short side of the resized frames, pixels.
        clip_size: frames of a clip; 0: 5, or 3 for videos of up to 15 frames.

    Raises:
        LengthError: there are too many frames.
        EngineError: the network failed.
    """
    check_length(num_frames)
    lengths = [last - first for first, last in _clips(num_frames, clip_size)]

    def predict() -> Iterator[tuple[ClipPrediction, Letterbox]]:
        return _predictions(engine, frames(), lengths, limits)

    kept = list(predict()) if num_frames <= MAX_KEPT_FRAMES else None
    video = align_clips([_without_masks(clip) for clip, _ in kept or predict()])
    tracks = _Tracks(video.class_logits, label_set, num_frames)
    for order, (clip, geometry) in zip(video.orders, kept or predict(), strict=True):
        for k in range(clip.mask_logits.shape[1]):
            tracks.add(clip.mask_logits[order, k], geometry)
    return [{"video_id": video_id, **entry} for entry in tracks.entries()]


def check_length(num_frames: int) -> None:
    """Raise LengthError if a video has too many frames."""
    if num_frames > MAX_FRAMES:
        raise LengthError(
            f"the video has {num_frames} frames; the paper's procedure keeps the results of all "
            f"and takes at most {MAX_FRAMES}: cut the video, or use the live tracks"
        )


def _clips(num_frames: int, clip_size: int) -> tuple[tuple[int, int], ...]:
    return split_clips(num_frames, clip_size or clip_size_for(num_frames))


def _predictions(
    engine: Engine,
    frames: Iterable[NDArray[np.uint8]],
    lengths: Sequence[int],
    limits: tuple[int, int],
) -> Iterator[tuple[ClipPrediction, Letterbox]]:
    """Yield what the network says about each clip."""
    remaining = iter(frames)
    for length in lengths:
        features: list[Any] = []
        for frame in itertools.islice(remaining, length):
            prepared, geometry = engine.prepare(frame, limits, "bgr")
            features.append(engine.run(prepared).features)
        tube = engine.decode_tube(features)
        masks = np.stack([frame.mask_logits for frame in tube], axis=1)
        yield ClipPrediction(tube[0].class_logits, masks, tube[0].queries), geometry


def _without_masks(clip: ClipPrediction) -> ClipPrediction:
    """Return a clip that says the same about classes and queries, with masks of no size."""
    return replace(clip, mask_logits=clip.mask_logits[..., :0, :0])


class _Tracks:
    """The best pairs of query and class, and their masks frame by frame."""

    def __init__(
        self, class_logits: NDArray[np.float32], label_set: LabelSet, num_frames: int
    ) -> None:
        """class_logits: (N, C + 1) of the whole video; the pairs depend on them alone."""
        self._class_logits = class_logits
        self._label_set = label_set
        self._num_frames = num_frames
        self._next = 0
        self._masks: dict[tuple[int, int], list[Any]] = {}
        self._scores: dict[tuple[int, int], float] = {}

    def add(self, mask_logits: NDArray[np.float32], geometry: Letterbox) -> None:
        """Take in the masks of the next frame, (N, h, w), rows as in the class logits."""
        for instance in extract_instances(
            self._class_logits, mask_logits, geometry, self._label_set, MAX_TRACKS
        ):
            pair = (instance.query, instance.class_id)
            found = self._masks.setdefault(pair, [None] * self._num_frames)
            score = self._scores.get(pair, 0.0) + instance.score / self._num_frames
            self._scores[pair] = score
            if instance.mask.area:
                found[self._next] = encode_coco(instance.mask)
        self._next += 1

    def entries(self) -> list[dict[str, Any]]:
        """Return those that have any mask, best score first."""
        entries = [
            {
                "category_id": pair[1] + 1,
                "score": min(1.0, self._scores[pair]),
                "segmentations": found,
            }
            for pair, found in self._masks.items()
            if any(found)
        ]
        return sorted(entries, key=lambda entry: -entry["score"])
