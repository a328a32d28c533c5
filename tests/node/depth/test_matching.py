"""Depth for an image by stamps: order, gaps, duplicates, jumps, rates, tolerance, bounds."""

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rmpsam_ros.node.depth.matching import MAX_HELD, MAX_ITEMS, StampMatcher

MS = 1_000_000


@pytest.fixture
def make_matcher(live_settings):
    def make(tolerance=0.05, backward_jump=0.5, work=None):
        settings = live_settings(depth_tolerance=tolerance, backward_jump=backward_jump)
        return StampMatcher(work or threading.Condition(), settings)

    return make


def put_all(matcher, *stamps):
    for stamp in stamps:
        matcher.keep(stamp * MS, f"at {stamp}")


def found(matcher, stamp):
    match = matcher.find(stamp * MS)
    return None if match is None else (match.item, match.offset // MS)


@pytest.mark.parametrize(
    ("stamps", "wanted", "expected"),
    [
        ([], 100, None),
        ([100], 100, ("at 100", 0)),
        ([90, 120], 100, ("at 90", -10)),
        ([80, 110], 100, ("at 110", 10)),
        ([50], 100, ("at 50", -50)),  # the tolerance itself is allowed
        ([49], 100, None),
        ([151], 100, None),
        ([133, 100, 66], 100, ("at 100", 0)),  # out of order
        ([66, 133, 100, 166], 101, ("at 100", -1)),
        ([0, 1000, 2000], 1010, ("at 1000", -10)),  # a lower rate
    ],
)
def test_the_nearest_within_the_tolerance_is_found(make_matcher, stamps, wanted, expected):
    matcher = make_matcher()
    put_all(matcher, *stamps)
    assert found(matcher, wanted) == expected


def test_a_stamp_that_comes_again_replaces_its_item(make_matcher):
    matcher = make_matcher()
    matcher.keep(5, "first")
    matcher.keep(5, "second")
    assert matcher.find(5).item == "second"
    assert matcher.received == 2


@pytest.mark.parametrize(
    ("stamps", "wanted", "expected"),
    [
        ([], 100, False),
        ([90], 100, False),  # a nearer one may come
        ([100], 100, True),
        ([90, 120], 100, True),
        ([140], 100, True),
        ([151], 100, True),  # none will come
        ([200, 90], 100, True),
        ([40], 100, False),
    ],
)
def test_a_match_is_final_when_later_items_have_come(make_matcher, stamps, wanted, expected):
    matcher = make_matcher()
    put_all(matcher, *stamps)
    assert matcher.settled(wanted * MS) is expected


@pytest.mark.parametrize("tolerance", [0.0, 0.005, 1.0])
def test_the_tolerance_is_a_setting(make_matcher, tolerance):
    matcher = make_matcher(tolerance)
    put_all(matcher, 100)
    assert (found(matcher, 107) is not None) == (tolerance > 0.006)
    assert found(matcher, 100) is not None


def test_time_that_jumps_back_begins_anew(make_matcher):
    matcher = make_matcher(tolerance=10.0)
    put_all(matcher, 10_000, 10_033, 20)
    assert found(matcher, 10_000) == ("at 20", 20 - 10_000)  # the old ones are gone
    put_all(matcher, 53)
    assert found(matcher, 53) == ("at 53", 0)


def test_a_small_step_back_is_only_out_of_order(make_matcher):
    matcher = make_matcher()
    put_all(matcher, 1000, 600)
    assert found(matcher, 1000) == ("at 1000", 0)
    assert found(matcher, 600) == ("at 600", 0)


def test_a_jump_ahead_harms_nothing(make_matcher):
    matcher = make_matcher()
    put_all(matcher, 100, 10**7)
    assert found(matcher, 10**7) == (f"at {10**7}", 0)
    put_all(matcher, 133)  # back again: one wrong stamp
    assert found(matcher, 133) == ("at 133", 0)
    assert found(matcher, 10**7) is None


def test_the_number_of_items_is_bounded(make_matcher):
    matcher = make_matcher()
    put_all(matcher, *range(0, 100_000, 33))
    assert len(matcher._items) == MAX_ITEMS
    assert found(matcher, 0) is None


def test_the_item_of_a_held_stamp_stays(make_matcher):
    """A slow network asks for it after many others have come."""
    matcher = make_matcher()
    matcher.hold(330 * MS)
    put_all(matcher, *range(0, 100_000, 33))
    assert found(matcher, 330) == ("at 330", 0)
    assert len(matcher._items) == MAX_ITEMS


def test_held_stamps_are_bounded_too(make_matcher):
    matcher = make_matcher()
    for stamp in range(0, 1000, 50):
        matcher.hold(stamp * MS)
    put_all(matcher, *range(0, 5000, 10))
    assert len(matcher._items) == MAX_ITEMS
    assert found(matcher, 950) == ("at 950", 0)
    assert found(matcher, 50 * (20 - MAX_HELD - 3)) is None


def test_the_distance_is_known_beyond_the_tolerance(make_matcher):
    matcher = make_matcher()
    assert matcher.distance(100 * MS) is None
    put_all(matcher, 400, 800)
    assert matcher.distance(500 * MS) == pytest.approx(-0.1)


def test_clear(make_matcher):
    matcher = make_matcher()
    put_all(matcher, 100)
    matcher.clear()
    assert found(matcher, 100) is None


def test_waiting_threads_are_woken(make_matcher):
    work = threading.Condition()
    matcher = make_matcher(0.1, work=work)
    woken = threading.Event()

    def wait():
        with work:
            work.wait_for(lambda: matcher.settled(5), 10.0)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    matcher.keep(5, "item")
    assert woken.wait(5.0)
    thread.join()
