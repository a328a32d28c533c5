"""Near-online video: cut a video into clips, and join what the network says about each clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.tracking.matching import assign, cosine_similarity

_LONG_VIDEO = 15  # more frames than this are cut into clips of 5 instead of 3


@dataclass(frozen=True, slots=True)
class ClipPrediction:
    """What the network gives for one clip (a tube of T frames).

    Attributes:
        class_logits: (N, C+1) float32, one row per object query for the whole clip.
        mask_logits: (N, T, h, w) float32.
        queries: (N, D) float32, the object adapter's queries.
    """

    class_logits: NDArray[np.float32]
    mask_logits: NDArray[np.float32]
    queries: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AlignedVideo:
    """All clips of a video in one order: row j is the same object from beginning to end.

    Attributes:
        class_logits: (N, C+1) float32, mean over the clips, each clip with weight one.
        mask_logits: (N, T, h, w) float32, all frames of the video.
        orders: (clips, N) row ``orders[i, j]`` of clip i became row j.
    """

    class_logits: NDArray[np.float32]
    mask_logits: NDArray[np.float32]
    orders: NDArray[np.intp]


def clip_size_for(num_frames: int) -> int:
    """Return the clip size for a video of that many frames: 5, or 3 up to 15 frames.

    Source: docs/reference/rmpsam.md, section 12, step 1.
    """
    return 5 if num_frames > _LONG_VIDEO else 3


def split_clips(num_frames: int, clip_size: int) -> tuple[tuple[int, int], ...]:
    """Cut a video into clips without overlap.

    The frames missing for a whole number of clips are taken from the last clips, one each, when
    there are enough clips for that; otherwise the last clip alone is shorter.

    Args:
        num_frames: frames of the video, at least 1.
        clip_size: frames of a full clip, at least 1 (`clip_size_for`).

    Returns:
        (first frame, frame after the last) of each clip.

    Raises:
        ValueError: a number below 1.

    Source: docs/reference/rmpsam.md, section 12, step 1.
    """
    if num_frames < 1 or clip_size < 1:
        raise ValueError(
            f"got {num_frames} frames in clips of {clip_size}; expected at least 1 of each"
        )
    num_clips = -(-num_frames // clip_size)
    missing = num_clips * clip_size - num_frames
    lengths = [clip_size] * num_clips
    if missing < num_clips:
        for i in range(num_clips - missing, num_clips):
            lengths[i] -= 1
    else:
        lengths[-1] -= missing
    ends = np.cumsum(lengths).tolist()
    return tuple(zip([0, *ends[:-1]], ends, strict=True))


def match_clip_queries(
    reference: NDArray[np.floating], queries: NDArray[np.floating]
) -> NDArray[np.intp]:
    """Match two sets of object queries one to one (Hungarian method, cost 1 - cosine).

    All N x N pairs take part; there is no threshold and no class or mask term, as in
    section 3.2 of the paper ("query matching") and in docs/reference/rmpsam.md,
    section 12, step 3.

    Args:
        reference: (N, D) the earlier queries, already in the order to keep.
        queries: (N, D) the later queries.

    Returns:
        (N,) order: ``queries[order]`` is aligned with ``reference``, row j continues row j.

    Raises:
        ValueError: the two are not matrices of one and the same shape.
    """
    if np.ndim(reference) != 2 or np.shape(reference) != np.shape(queries):
        raise ValueError(
            f"got queries of shape {np.shape(queries)} to match with {np.shape(reference)}; "
            "expected two (N, D) arrays of one shape: pass the queries of one network"
        )
    return assign(1.0 - cosine_similarity(reference, queries))[1]


def align_queries(queries: Sequence[NDArray[np.floating]]) -> NDArray[np.intp]:
    """Match each clip's queries with the aligned queries of the clip before it.

    Args:
        queries: (N, D) of every clip, in order of time, at least one.

    Returns:
        (clips, N) orders: ``queries[i][orders[i]]`` keeps row j the same object in all clips.

    Raises:
        ValueError: no clip, or clips of different shapes.

    Source: docs/reference/rmpsam.md, section 12, step 3 (the clip before, not a running average).
    """
    if not queries:
        raise ValueError("got no clip to align; expected at least one")
    aligned = np.asarray(queries[0])
    orders = [np.arange(len(aligned))]
    for current in queries[1:]:
        order = match_clip_queries(aligned, current)
        aligned = np.asarray(current)[order]
        orders.append(order)
    return np.stack(orders)


def align_clips(clips: Sequence[ClipPrediction]) -> AlignedVideo:
    """Join the predictions of consecutive clips into one of the whole video.

    Args:
        clips: in order of time, at least one; N, C, D, h and w are common, T may differ.

    Returns:
        Class logits averaged over clips and mask logits joined in time, rows aligned.

    Raises:
        ValueError: no clip, or clips whose shapes do not fit together.

    Source: docs/reference/rmpsam.md, section 12, steps 3 and 4.
    """
    orders = align_queries([clip.queries for clip in clips])
    for i, clip in enumerate(clips):
        _check_clip(i, clip, clips[0])
    class_logits = np.mean(
        [clip.class_logits[order] for clip, order in zip(clips, orders, strict=True)], axis=0
    )
    num_frames = sum(clip.mask_logits.shape[1] for clip in clips)
    num_queries, _, height, width = clips[0].mask_logits.shape
    mask_logits = np.empty((num_queries, num_frames, height, width), np.float32)
    first = 0
    for clip, order in zip(clips, orders, strict=True):
        last = first + clip.mask_logits.shape[1]
        mask_logits[:, first:last] = clip.mask_logits[order]
        first = last
    return AlignedVideo(class_logits.astype(np.float32), mask_logits, orders)


def _check_clip(index: int, clip: ClipPrediction, first: ClipPrediction) -> None:
    """Raise ValueError where a clip does not fit the first one."""
    num_queries = len(first.queries)
    fits = (
        clip.class_logits.ndim == 2
        and clip.class_logits.shape == (num_queries, first.class_logits.shape[1])
        and clip.mask_logits.ndim == 4
        and clip.mask_logits.shape[0] == num_queries
        and clip.mask_logits.shape[2:] == first.mask_logits.shape[2:]
    )
    if not fits:
        raise ValueError(
            f"clip {index} has class logits {clip.class_logits.shape} and mask logits "
            f"{clip.mask_logits.shape}; expected (N, C+1) and (N, T, h, w) with N = "
            f"{num_queries} and the C, h and w of the first clip {first.class_logits.shape}, "
            f"{first.mask_logits.shape}"
        )
