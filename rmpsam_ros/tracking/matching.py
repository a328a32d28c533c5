"""Parts of query matching: unit vectors, cosines, and the Hungarian method.

Clips are matched in `clips` (`match_clip_queries`), live frames in `association`
(`match_frame_queries`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

_MIN_LENGTH = 1e-12


def unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale every row to length one.

    A row that has no direction (a NaN or infinity in it, or all zeros) becomes a row of zeros, so
    that it is similar to nothing and cannot spoil the others.

    Args:
        vectors: (N, D).

    Returns:
        (N, D) float32.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    usable = np.isfinite(squares) & (squares > _MIN_LENGTH**2)
    if not usable.all():
        vectors = np.where(usable[:, None], vectors, np.float32(0.0))
        squares = np.where(usable, squares, 1.0)
    return vectors * (1.0 / np.sqrt(squares)).astype(np.float32)[:, None]


def cosine_similarity(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the cosine of the angle between every row of ``a`` and every row of ``b``.

    Args:
        a: (N, D).
        b: (M, D).

    Returns:
        (N, M) float32 in [-1, 1]; 0 where a row has no direction (see `unit_rows`).
    """
    return np.clip(unit_rows(a) @ unit_rows(b).T, -1.0, 1.0)


def assign(cost: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pick one entry per row and per column with the least sum (Hungarian method).

    Args:
        cost: (N, M) finite.

    Returns:
        (min(N, M),) rows in rising order, and their columns.
    """
    rows, columns = linear_sum_assignment(cost)
    return rows, columns
