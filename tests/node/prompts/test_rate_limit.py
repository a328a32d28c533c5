"""How often something may happen."""

import pytest

from rmpsam_ros.node.prompts.rate_limit import RateLimit


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 1), (1.0, 1), (2.5, 2), (10.0, 10)])
def test_a_second_of_them_at_once_and_then_at_the_rate(rate, burst):
    clock = Clock()
    limit = RateLimit(clock)
    assert [limit.take(rate) for _ in range(burst + 2)] == [True] * burst + [False] * 2
    taken = 0
    for _ in range(1600):
        clock.now += 0.0625  # no rounding
        taken += limit.take(rate)
    assert taken == pytest.approx(100.0 * rate, abs=1.5)


def test_a_long_pause_does_not_add_up():
    clock = Clock()
    limit = RateLimit(clock)
    clock.now += 1e6
    assert sum(limit.take(3.0) for _ in range(10)) == 3


def test_a_changed_rate_counts_at_once():
    clock = Clock()
    limit = RateLimit(clock)
    assert limit.take(1.0)
    clock.now += 0.0625
    assert sum(limit.take(64.0) for _ in range(10)) == 4
