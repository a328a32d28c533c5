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


def test_relabel_refuses_values_beyond_the_table():
    values = np.full((3, 3), 7, np.uint16)
    with pytest.raises(ValueError, match="inconsistent"):
        _native.relabel(values, np.zeros(7, np.uint16))


@pytest.mark.parametrize("width", [1, 3, 15, 16, 17, 64, 100])
def test_relabel(width):
    rng = np.random.default_rng(width)
    values = np.repeat(rng.integers(0, 50, (40, width)), rng.integers(1, 4), axis=1)
    values = np.ascontiguousarray(values[:, :width], dtype=np.uint16)
    table = rng.integers(0, 65536, 50).astype(np.uint16)
    expected = table[values]
    _native.relabel(values, table)
    np.testing.assert_array_equal(values, expected)


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
            if not all((a == b).all() for a, b in zip(found, expected, strict=True)):
                failures.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
