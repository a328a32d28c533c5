"""Sequence numbers that were skipped are losses; everything else is not."""

import pytest

from rmpsam_ros.node.input.transport_losses import MAX_PUBLISHERS, WINDOW, TransportLosses


def info(number, publisher=b"a"):
    return {"publication_sequence_number": number, "publisher_gid": {"data": publisher}}


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        ([1, 2, 3], 0),
        ([700, 701], 0),
        ([1, 2, 5, 6], 2),
        ([1, 10], 8),
        ([5, 1, 2], 0),
        ([5, 5], 0),
        ([], 0),
    ],
)
def test_gaps(numbers, lost):
    losses = TransportLosses()
    for number in numbers:
        losses.note(info(number))
    assert losses.lost == lost


def test_publishers_count_separately():
    losses = TransportLosses()
    for number in range(1, 6):
        losses.note(info(number, b"a"))
        losses.note(info(100 + 2 * number, b"b"))
    assert losses.lost == 4


def test_middlewares_without_numbers_or_names():
    losses = TransportLosses()
    losses.note({"source_timestamp": 1})
    losses.note({"publication_sequence_number": None, "publisher_gid": None})
    assert losses.lost == 0
    losses.note({"publication_sequence_number": 1})
    losses.note({"publication_sequence_number": 4})
    assert losses.lost == 2


def test_memory_is_bounded():
    losses = TransportLosses()
    for number in range(10 * MAX_PUBLISHERS):
        losses.note(info(1, number.to_bytes(4, "big")))
    assert len(losses._numbers) == MAX_PUBLISHERS


def test_share_over_the_last_readings():
    losses = TransportLosses()
    assert losses.recent_share(0) == 0.0
    losses.note(info(1))
    losses.note(info(4))
    assert losses.recent_share(2) == pytest.approx(0.5)
    for received in range(3, 3 + WINDOW):
        share = losses.recent_share(received)
    assert share == 0.0
