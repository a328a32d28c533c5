"""Query matching against the reference, and with queries that have no direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rmpsam_ros.tracking import align_queries, cosine_similarity, match_clip_queries
from rmpsam_ros.tracking.association import embed_queries
from rmpsam_ros.tracking.matching import assign, unit_rows

SEQUENCES = ("easy", "hard", "relu")


def reference(folder: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (clips, N, D) queries and (clips - 1, N) expected orders."""
    with np.load(folder / "query_matching.npz") as arrays:
        return arrays[f"{name}.embeddings"][:, 0], arrays[f"{name}.indices"]


@pytest.mark.parametrize("name", SEQUENCES)
def test_orders_are_those_of_the_reference(data_folder: Path, name: str) -> None:
    queries, expected = reference(data_folder, name)
    orders = align_queries(list(queries))
    np.testing.assert_array_equal(orders[0], np.arange(queries.shape[1]))
    np.testing.assert_array_equal(orders[1:], expected)


def test_the_hard_sequence_needs_one_to_one_matching(data_folder: Path) -> None:
    queries, expected = reference(data_folder, "hard")
    greedy = cosine_similarity(queries[0], queries[1]).argmax(axis=1)
    assert (greedy != expected[0]).sum() > 5


@pytest.mark.parametrize("name", SEQUENCES)
def test_embeddings_match_as_the_plain_cosine_does(data_folder: Path, name: str) -> None:
    queries, expected = reference(data_folder, name)
    aligned = queries[0]
    for current, order in zip(queries[1:], expected, strict=True):
        cost = 1.0 - embed_queries(aligned) @ embed_queries(current).T
        np.testing.assert_array_equal(assign(cost)[1], order)
        aligned = current[order]


def test_embeddings_tell_apart_what_the_plain_cosine_does_not(data_folder: Path) -> None:
    queries, expected = reference(data_folder, "relu")
    same = np.arange(len(expected[0])), expected[0]
    plain = cosine_similarity(queries[0], queries[1])
    embedded = embed_queries(queries[0]) @ embed_queries(queries[1]).T
    other = np.ones(plain.shape, bool)
    other[same] = False
    assert plain[other].min() > 0.9
    assert embedded[same].min() > 0.9
    assert embedded[other].max() < 0.4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_rows_without_direction_are_matched_last(bad: float) -> None:
    rng = np.random.default_rng(0)
    earlier = rng.normal(size=(12, 8)).astype(np.float32)
    order = rng.permutation(12)
    later = earlier[order] + 0.05 * rng.normal(size=(12, 8)).astype(np.float32)
    later[3] = 0.0
    later[3, -1] = bad
    found = match_clip_queries(earlier, later)
    assert sorted(found) == list(range(12))
    expected = np.argsort(order)
    np.testing.assert_array_equal(found, expected)  # the one left over falls to the bad row


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_all_rows_without_direction_still_give_a_permutation(bad: float) -> None:
    queries = np.full((7, 4), bad, np.float32)
    assert sorted(match_clip_queries(queries, queries)) == list(range(7))
    assert not embed_queries(queries).any()


def test_length_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    queries = rng.normal(size=(20, 6))
    scaled = queries * 10.0 ** rng.integers(-8, 18, size=(20, 1))
    np.testing.assert_array_equal(match_clip_queries(queries, scaled), np.arange(20))
    np.testing.assert_allclose(np.diag(cosine_similarity(queries, scaled)), 1.0, atol=1e-6)


def test_unit_rows_keeps_the_input() -> None:
    rows = np.array([[3.0, 4.0], [np.nan, 1.0], [0.0, 0.0]], np.float32)
    before = rows.copy()
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8], [0, 0], [0, 0]], atol=1e-7)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_queries_do_not_cancel_themselves(count: int) -> None:
    embedded = embed_queries(np.eye(count, 4, dtype=np.float32))
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second"), [((5, 4), (6, 4)), ((5, 4), (5, 3)), ((5,), (5,)), ((1, 5, 4), (1, 5, 4))]
)
def test_shapes_that_do_not_match_are_refused(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="expected two"):
        match_clip_queries(np.zeros(first, np.float32), np.zeros(second, np.float32))
