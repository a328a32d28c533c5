"""Association of tracks and detections: pure functions on embeddings, boxes and classes.

The query is the identity cue, as in section 3.2 of the paper (query matching, no extra
tracking component). Two things are added to the plain cosine because a live robot needs
thresholds, which the reference does without:

* The object adapter ends in a ReLU, so all its queries point into the same corner of the space:
  with the reference's synthetic weights any two different queries of one frame have a cosine of
  0.86 to 0.99. No threshold can stand on that. Taking off the mean direction of the frame's
  queries spreads unrelated queries around 0 and leaves the best assignment as it was.
* Two things of one kind (two persons) can have nearly the same query. The overlap of the boxes,
  fading with the time since the thing was last seen, then decides between them. Its weight is so
  small that it cannot make one thing out of two whose queries differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.overlap import box_ious
from rmpsam_ros.tracking.matching import assign, unit_rows

Box = tuple[float, float, float, float]
_NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)


def embed_queries(queries: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the part of each query that tells it from the others of its frame, as a unit vector.

    Args:
        queries: (N, D) the object adapter's queries of one frame.

    Returns:
        (N, D) float32; rows of zeros for queries without a direction (NaN, infinite, zero).
    """
    units = unit_rows(queries)
    # One more than the number of rows: a single query must not cancel itself.
    common = units.sum(axis=0) / np.float32(len(units) + 1)
    return unit_rows(np.where(units.any(axis=1, keepdims=True), units - common, np.float32(0.0)))


def box_overlap(a: Sequence[Box | None], b: Sequence[Box | None]) -> NDArray[np.float32]:
    """Return the intersection over union of every box of ``a`` with every box of ``b``.

    Args:
        a, b: boxes (x_min, y_min, x_max, y_max), or None.

    Returns:
        (len(a), len(b)) float32, 0 to 1; 0 where a box is missing or empty.
    """
    first, second = ([box or _NO_BOX for box in boxes] for boxes in (a, b))
    return box_ious(first, second).astype(np.float32)


def match_frame_queries(
    previous: NDArray[np.float32],
    current: NDArray[np.float32],
    seen: NDArray[np.intp],
    detected: NDArray[np.intp],
    box_bonus: NDArray[np.float32],
    min_similarity: float,
) -> list[tuple[int, int]]:
    """Match all queries of two frames and tell which tracks go on as which detections.

    All N x N queries compete, as in `match_clip_queries`: a thing that is gone leaves its slot to
    the query that now says "nothing here" instead of taking another thing's.

    Args:
        previous: (N, D) embeddings of the frame before.
        current: (N, D) embeddings of this frame.
        seen: (T,) the previous query of every track seen in the frame before.
        detected: (K,) the current query of every detection.
        box_bonus: (T, K) added to the similarity of their queries.
        min_similarity: of the two, bonus included, to go on.

    Returns:
        (track, detection) pairs, as positions in ``seen`` and ``detected``.
    """
    affinity = previous @ current.T
    affinity[seen[:, None], detected] += box_bonus
    order = assign(1.0 - affinity)[1]
    detection_of = {query: k for k, query in enumerate(detected.tolist())}
    following = order[seen]
    strong = affinity[seen, following] >= min_similarity
    return [
        (track, detection_of[query])
        for track, query in enumerate(following.tolist())
        if strong[track] and query in detection_of
    ]


def reidentify(
    affinity: NDArray[np.float32], allowed: NDArray[np.bool_], min_affinity: float
) -> list[tuple[int, int]]:
    """Match remembered tracks with detections, best sum of affinities first.

    Args:
        affinity: (T, K) similarity of remembered and present queries, box bonus included.
        allowed: (T, K) false where class or state forbid it.
        min_affinity: to be the same thing.

    Returns:
        (track, detection) pairs, each track and each detection at most once.
    """
    allowed = allowed & (affinity >= min_affinity)
    if not allowed.any():
        return []
    tracks, detections = assign(np.where(allowed, -affinity, 0.0))
    good = allowed[tracks, detections]
    return list(zip(tracks[good].tolist(), detections[good].tolist(), strict=True))
