"""Images in the order of their stamps."""

import random

import pytest

from rmpsam_ros.recordings.stamp_order import WINDOW, StampOrder


def ordered(stamps, backward_jump=100):
    order = StampOrder(backward_jump)
    found = [one for stamp in stamps for one in order.put(stamp, stamp)]
    return [*found, *order.rest()]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([], []),
        ([5], [5]),
        ([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]),
        ([2, 1, 4, 3, 6, 5], [1, 2, 3, 4, 5, 6]),
        ([5, 4, 3, 2, 1], [1, 2, 3, 4, 5]),
        ([7, 7, 7], [7, 7, 7]),
        # A run of time that begins anew comes behind the one before it.
        ([500, 510, 10, 20], [500, 510, 10, 20]),
        ([500, 510, 10, 20, 15], [500, 510, 10, 15, 20]),
        ([500, 510, 410], [410, 500, 510]),  # exactly the jump that is allowed
        # One that is later than the window is given when it comes, and not lost.
        ([2, 3, 4, 5, 6, 7, 1], [2, 3, 1, 4, 5, 6, 7]),
    ],
)
def test_order(stamps, expected):
    assert ordered(stamps) == expected


def test_nothing_is_lost_or_given_twice():
    generator = random.Random(3)
    for _ in range(200):
        stamps = [generator.randrange(1000) for _ in range(30)]
        assert sorted(ordered(stamps)) == sorted(stamps)


def test_memory_is_bounded_and_equal_items_keep_their_order():
    order, waiting = StampOrder(100), 0
    for k in range(1000):
        waiting += 1 - sum(1 for _ in order.put(k, k))
        assert waiting <= WINDOW
    order = StampOrder(100)
    found = [one for item in "abcdefg" for one in order.put(1, item)] + list(order.rest())
    assert found == list("abcdefg")
