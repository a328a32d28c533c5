"""The compiled library: found, complete, and clear when it is not."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rmpsam_ros import _native


def test_missing_library_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_native, "_LIBRARY", tmp_path / "librmpsam_kernels.so")
    with pytest.raises(ImportError, match="make native"):
        _native._load()


def runs_of(values, lengths):
    return np.array(values, np.uint16), np.array(lengths, np.uint32)


def test_relabel_refuses_values_beyond_the_table():
    with pytest.raises(ValueError, match="inconsistent"):
        _native.relabel_runs(runs_of([7], [9]), np.zeros(7, np.uint16))


def test_relabelled_runs_that_become_equal_are_one():
    table = np.array([0, 5, 5, 0], np.uint16)
    values, lengths = _native.relabel_runs(runs_of([1, 2, 3, 0, 1], [4, 3, 2, 1, 6]), table)
    assert values.tolist() == [5, 0, 5] and lengths.tolist() == [7, 3, 6]
    assert values.dtype == np.uint16 and lengths.dtype == np.uint32


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("longest", [1, 3, 40, 64, 65, 1000])
@pytest.mark.parametrize("count", [1, 2, 5, 50])
def test_painted_runs(dtype, longest, count):
    rng = np.random.default_rng(count + longest)
    for _ in range(10):
        values = rng.integers(1, np.iinfo(dtype).max, count).astype(dtype)
        lengths = rng.integers(0, longest + 1, count).astype(np.uint32)
        out = np.zeros(int(lengths.sum()) + 64, dtype)
        _native.paint_runs(values, lengths, out[:-64])
        np.testing.assert_array_equal(out[:-64], np.repeat(values, lengths))
        assert not out[-64:].any()


@pytest.mark.parametrize("lengths", [[5, 6], [5, 8], [13, 0], [2**32 - 1, 13]])
def test_painting_refuses_runs_that_do_not_fill_the_image(lengths):
    out = np.zeros(14, np.uint16)
    with pytest.raises(ValueError, match="inconsistent"):
        _native.paint_runs(*runs_of([1, 2], lengths), out[:12])
    assert not out[12:].any()


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 63, 64, 65, 127, 960])
def test_sign_bits_are_packed_comparisons(columns):
    rng = np.random.default_rng(columns)
    values = rng.normal(0, 1, (5, columns)).astype(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45], np.float32)
    values[1] = rng.choice(special, columns)
    values[2:4] = np.array([[1.0], [-1.0]])
    bits = _native.sign_bits(values)
    assert bits.dtype == np.uint8
    np.testing.assert_array_equal(bits, np.packbits(values > 0, axis=1))


def test_no_rows_have_no_sign_bits():
    assert _native.sign_bits(np.zeros((0, 20), np.float32)).shape == (0, 3)


@pytest.mark.parametrize(
    "geometry",
    [
        (0, 4, 32, 32, 9, 9, 9, 9),
        (4, 4, 32, 32, 33, 9, 9, 9),
        (4, 4, 32, 32, 9, 9, 0, 9),
        (4, 4, 32, 32, 9, 9, 9, 40000),
    ],
)
def test_kernels_refuse_impossible_sizes(geometry):
    sizes = np.array(geometry, np.int32)
    one = np.zeros(1, np.int32)
    with pytest.raises(ValueError, match="inconsistent"):
        _native.fuse(np.zeros((1, 4, 4), np.float32), one, np.ones(1, np.float32), sizes)
    with pytest.raises(ValueError, match="inconsistent"):
        _native.binary_mask(np.zeros((1, 4, 4), np.float32), one, one[:0], sizes)


def test_calls_from_many_threads():
    """Kernels keep no state: calls at the same time do not see each other."""
    sizes = np.array((16, 16, 64, 64, 60, 60, 200, 200), np.int32)
    logits = np.random.default_rng(0).normal(0, 3, (8, 16, 16)).astype(np.float32)
    chosen, scores = np.arange(8, dtype=np.int32), np.linspace(0.8, 0.9, 8, dtype=np.float32)
    expected = _native.fuse(logits, chosen, scores, sizes)
    failures = []

    def work():
        for _ in range(10):
            found = _native.fuse(logits, chosen, scores, sizes)
            pairs = [*zip(found[0], expected[0], strict=True)]
            pairs += zip(found[1:], expected[1:], strict=True)
            if not all(np.array_equal(a, b) for a, b in pairs):
                failures.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
