"""The paper's inference for whole videos, by which its figures on YouTube-VIS are made.

The video is cut into clips without overlap; each is decoded as a tube; the queries of a clip are
matched with those of the clip before, and class logits are averaged over clips (section 3.2,
reference section 12). What comes out is one list of at most 100 pairs of query and class for all
frames. There are no thresholds, no states and no memory: it is a benchmark's procedure, which sees
the whole video before it says anything. What a robot gets are the tracks of the live pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.runtime import Engine
from rmpsam_ros.segmentation.instances import extract_instances
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.preprocess import Geometry
from rmpsam_ros.tracking import (
    AlignedVideo,
    ClipPrediction,
    align_clips,
    clip_size_for,
    split_clips,
)
from rmpsam_ros.video.vis_results import encode_coco

MAX_FRAMES = 300  # masks of all queries are kept for all frames: 8 MB each at 640x480
MAX_TRACKS = 100


class LengthError(ValueError):
    """A video of which the masks cannot all be kept."""


def near_online_results(
    engine: Engine,
    frames: Iterable[NDArray[np.uint8]],
    num_frames: int,
    limits: tuple[int, int],
    label_set: LabelSet,
    clip_size: int = 0,
    video_id: int = 1,
) -> list[dict[str, Any]]:
    """Return the tracks of a whole video, best score first, as `VisResults` gives them.

    Scores are the mean over all frames of class probability times mask quality, as the official
    evaluation has them.

    Args:
        engine: made for tubes of the clip size.
        frames: BGR, (H, W, 3), all of one size.
        num_frames: how many there are, 1 to MAX_FRAMES.
        limits: long and short side of the resized frames, pixels.
        clip_size: frames of a clip; 0: 5, or 3 for videos of up to 15 frames.

    Raises:
        LengthError: there are too many frames.
        EngineError: the network failed.
    """
    check_length(num_frames)
    clips = split_clips(num_frames, clip_size or clip_size_for(num_frames))
    ends = {last for _, last in clips}
    predictions: list[ClipPrediction] = []
    features: list[Any] = []
    geometry: Geometry | None = None
    for count, frame in enumerate(frames, start=1):
        prepared, geometry = engine.prepare(frame, limits, "bgr")
        features.append(engine.run(prepared).features)
        if count in ends:
            predictions.append(_decode_clip(engine, features))
            features.clear()
    video = align_clips(predictions)
    assert geometry is not None  # there was a clip
    return [{"video_id": video_id, **one} for one in _entries(video, geometry, label_set)]


def check_length(num_frames: int) -> None:
    """Raise LengthError if a video has too many frames."""
    if num_frames > MAX_FRAMES:
        raise LengthError(
            f"the video has {num_frames} frames; the paper's procedure keeps the masks of all of "
            f"them and takes at most {MAX_FRAMES}: cut the video, or use the live tracks"
        )


def _decode_clip(engine: Engine, features: list[Any]) -> ClipPrediction:
    tube = engine.decode_tube(features)
    masks = np.stack([one.mask_logits for one in tube], axis=1)
    return ClipPrediction(tube[0].class_logits, masks, tube[0].queries)


def _entries(
    video: AlignedVideo, geometry: Geometry, label_set: LabelSet
) -> list[dict[str, Any]]:
    num_frames = video.mask_logits.shape[1]
    masks: dict[tuple[int, int], list[Any]] = {}
    scores: dict[tuple[int, int], float] = {}
    for k in range(num_frames):
        # The pairs depend on the class logits alone: they are the same in every frame.
        for one in extract_instances(
            video.class_logits, video.mask_logits[:, k], geometry, label_set, MAX_TRACKS
        ):
            pair = (one.query, one.class_id)
            found = masks.setdefault(pair, [None] * num_frames)
            scores[pair] = scores.get(pair, 0.0) + one.score / num_frames
            if one.mask.area:
                found[k] = encode_coco(one.mask)
    entries = [
        {"category_id": pair[1] + 1, "score": min(1.0, scores[pair]), "segmentations": found}
        for pair, found in masks.items()
        if any(found)
    ]
    return sorted(entries, key=lambda entry: -entry["score"])
