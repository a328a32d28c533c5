"""Which frames are kept, and what is said about those that are not."""

import threading

import numpy as np
import pytest

from rmpsam_ros.prompting.frames import (
    FrameNotKeptError,
    FrameStore,
    KeptFrame,
    NoFrameError,
)
from rmpsam_ros.prompting.query_masks import QueryMasks
from rmpsam_ros.segmentation.preprocess import fit

QUERIES = QueryMasks(np.zeros(1, np.float32), np.zeros((1, 1), np.uint8), (1, 1), np.zeros((1, 8)))
FRAME_BYTES = 32 * 64 * 3 + 64 * 32 * 64 + QUERIES.nbytes


def frame(stamp, features="handle"):
    image = np.zeros((32, 64, 3), np.uint8)
    return KeptFrame(stamp, image, "rgb", fit((32, 64), (64, 32)), features, QUERIES)


def stamps(store):
    return [one.stamp for one in store.after(-1e9)]


def test_a_frame_is_found_by_its_exact_stamp():
    store = FrameStore(5.0, 10**9)
    kept = [frame(1_700_000_000.0 + step * 0.033333333) for step in range(20)]
    for one in kept:
        store.keep(one)
    assert all(store.find(one.stamp) is one for one in kept)
    assert store.find(None) is store.newest() is kept[-1]


def test_nothing_is_kept_at_first_and_after_clearing():
    store = FrameStore(5.0, 10**9)
    for stamp in (None, 1.0):
        with pytest.raises(NoFrameError, match="no image"):
            store.find(stamp)
    store.keep(frame(1.0))
    store.clear()
    store.drop_excess()
    assert store.newest() is None and store.oldest_stamp() is None
    with pytest.raises(NoFrameError):
        store.find(1.0)


def test_the_window_is_seconds_not_frames():
    store = FrameStore(2.0, 10**9)
    for stamp in (0.0, 1.0, 2.0, 2.5, 2.6, 3.0):
        store.keep(frame(stamp))
    assert stamps(store) == [1.0, 2.0, 2.5, 2.6, 3.0]
    store.keep(frame(60.0))
    assert stamps(store) == [60.0]


def test_memory_is_bounded_and_the_newest_always_kept():
    store = FrameStore(1000.0, 3 * FRAME_BYTES)
    for step in range(100):
        store.keep(frame(float(step)))
    assert stamps(store) == [97.0, 98.0, 99.0]
    small = FrameStore(1000.0, 1)
    small.keep(frame(1.0))
    small.keep(frame(2.0))
    assert stamps(small) == [2.0]


def test_embeddings_count_and_frames_without_features_are_small():
    store = FrameStore(1000.0, 3 * FRAME_BYTES)
    for step in range(10):
        store.keep(frame(float(step), features=None))
    assert len(stamps(store)) == 10
    store.find(9.0).embedding_bytes = 3 * FRAME_BYTES - 10
    store.drop_excess()
    assert stamps(store) == [9.0]


def test_the_refusal_names_the_window():
    store = FrameStore(2.0, 64_000_000)
    store.keep(frame(10.0))
    with pytest.raises(FrameNotKeptError, match=r"kept is 1 from 10\.0"):
        store.find(11.0)
    store.keep(frame(11.5))
    with pytest.raises(FrameNotKeptError) as error:
        store.find(3.25)
    for part in ("3.25", "2 from 10.0", "11.5", "keep_seconds (2)", "keep_megabytes (64)"):
        assert part in str(error.value)


def test_a_stamp_that_comes_twice_names_the_later_frame():
    store = FrameStore(2.0, 10**9)
    store.keep(frame(0.0))
    later = frame(0.0)
    store.keep(later)
    assert store.find(0.0) is later and stamps(store) == [0.0]


def test_the_newest_is_the_one_that_came_last():
    store = FrameStore(2.0, 10**9)
    store.keep(frame(5.0))
    store.keep(frame(4.9))
    assert store.newest().stamp == 4.9 and stamps(store) == [4.9, 5.0]


def test_colours_are_read_in_their_order():
    one = frame(1.0)
    one.image[..., 0] = 7
    assert one.rgb[0, 0].tolist() == [7, 0, 0]
    one.channel_order = "bgr"
    assert one.rgb[0, 0].tolist() == [0, 0, 7]


def test_reading_while_frames_come_in():
    store, failures, done = FrameStore(0.5, 10**9), [], threading.Event()

    def read():
        while not done.is_set():
            try:
                newest = store.newest()
                if newest is not None:
                    store.find(newest.stamp)
                    store.after(newest.stamp - 0.2)
                    store.drop_excess()
            except FrameNotKeptError:
                pass  # it was dropped in between
            except Exception as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for step in range(500):
        store.keep(frame(step * 0.01))
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
