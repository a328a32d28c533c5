"""Images and results are joined by their stamps; the newest wins, and memory has a bound."""

from types import SimpleNamespace

import pytest

from rmpsam_ros.console import frames
from rmpsam_ros.console.frames import FrameStore


def message(stamp, size=10, **fields):
    seconds, rest = divmod(stamp, 1_000_000_000)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=rest))
    return SimpleNamespace(header=header, data=bytes(size), **fields)


@pytest.fixture
def store(monkeypatch):
    """A store whose node publishes results already."""
    store = FrameStore()
    store.put_result("tracks", message(0))
    return store


def put(store, stamp):
    store.put_image(message(stamp))
    store.put_result("panoptic", message(stamp))
    return store.put_result("tracks", message(stamp))


@pytest.mark.parametrize(
    "order",
    [
        ("image", "panoptic", "tracks"),
        ("panoptic", "tracks", "image"),
        ("tracks", "image", "panoptic"),
    ],
)
def test_a_frame_is_whole_when_all_three_are_there(store, order):
    done = [
        store.put_image(message(7)) if name == "image" else store.put_result(name, message(7))
        for name in order
    ]
    assert done == [False, False, True]
    assert store.newest.stamp == 7
    assert None not in (store.newest.panoptic, store.newest.tracks)


def test_numbers_count_up(store):
    assert put(store, 1) and store.newest.number == 1
    assert put(store, 2) and store.newest.number == 2
    store.clear()
    store.put_result("tracks", message(0))
    assert put(store, 1) and store.newest.number == 3


def test_images_of_other_stamps_are_not_mixed_in(store):
    store.put_image(message(1))
    store.put_result("panoptic", message(2))
    assert not store.put_result("tracks", message(2))
    assert store.newest is None


def test_what_is_older_than_a_whole_frame_is_given_up(store):
    store.put_result("panoptic", message(1))
    assert put(store, 2)
    assert not store.put_image(message(1)) and store.newest.stamp == 2
    assert not store._parts


def test_images_are_shown_alone_while_there_are_no_results():
    store = FrameStore()
    assert store.put_image(message(1)) and store.newest.panoptic is None
    store.put_result("panoptic", message(2))
    assert not store.put_image(message(3))
    store.patience = 0.0  # the node is known not to be active
    assert store.put_image(message(4)) and store.newest.stamp == 4


def test_memory_is_bounded(store, monkeypatch):
    monkeypatch.setattr(frames, "MAX_IMAGE_BYTES", 1000)
    for stamp in range(1, 200):
        store.put_image(message(stamp, size=100))
        store.put_result("panoptic", message(stamp))
    assert len(store._images) == 10 and store._bytes == 1000
    assert len(store._parts) <= frames.MAX_IMAGES
    assert store.image(199) is not None and store.image(150) is None
    store.put_image(message(200, size=5000))  # larger than all: the newest is kept all the same
    assert list(store._images) == [200] and store._bytes == 5000


def test_the_same_image_twice_counts_once(store):
    store.put_image(message(1, size=100))
    store.put_image(message(1, size=300))
    assert store._bytes == 300


def test_latencies_after_a_number(store):
    for stamp in range(5):
        store.put_latency(message(stamp))
    assert [number for number, _ in store.latencies_after(3)] == [4, 5]
    assert store.latencies_after(5) == []


def test_prompted_masks_of_an_image(store):
    mask = SimpleNamespace(object_id="a", stamp=message(5).header.stamp)
    old = SimpleNamespace(object_id="b", stamp=message(4).header.stamp)
    store.put_prompted(message(5, masks=[mask, old]))
    assert store.prompted_at(5) == [mask]
    assert store.prompted_at(6) == []
