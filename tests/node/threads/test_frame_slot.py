"""The newest item wins, and every item is either taken or counted as dropped."""

import threading

from rmpsam_ros.node.threads.frame_slot import FrameSlot


def make_slot():
    return FrameSlot(threading.Condition())


def test_an_empty_slot_gives_nothing():
    slot = make_slot()
    assert not slot
    assert slot.take() is None
    assert (slot.received, slot.dropped) == (0, 0)


def test_the_newest_wins():
    slot = make_slot()
    for item in "abc":
        slot.offer(item)
    assert slot
    assert slot.take() == "c"
    assert slot.take() is None
    assert (slot.received, slot.dropped) == (3, 2)


def test_a_cleared_item_counts_as_dropped_once():
    slot = make_slot()
    slot.offer("a")
    slot.clear()
    slot.clear()
    assert slot.take() is None
    assert (slot.received, slot.dropped) == (1, 1)


def test_counts_start_again():
    slot = make_slot()
    slot.offer("a")
    slot.offer("b")
    slot.reset_counts()
    assert (slot.received, slot.dropped) == (0, 0)


def test_offering_wakes_who_waits():
    condition = threading.Condition()
    slots = [FrameSlot(condition), FrameSlot(condition)]
    taken = []

    def wait():
        with condition:
            condition.wait_for(lambda: any(slots), 30.0)
            taken.extend(slot.take() for slot in slots)

    thread = threading.Thread(target=wait)
    thread.start()
    slots[1].offer("b")
    thread.join(30.0)
    assert taken == [None, "b"]


def test_nothing_is_lost_or_doubled_between_threads():
    slot, count, taken, done = make_slot(), 20000, [], threading.Event()

    def take():
        while True:
            last = done.is_set()
            item = slot.take()
            if item is not None:
                taken.append(item)
            elif last:
                return

    thread = threading.Thread(target=take)
    thread.start()
    for number in range(1, count + 1):
        slot.offer(number)
    done.set()
    thread.join(60.0)
    assert not thread.is_alive()
    assert taken == sorted(set(taken))
    assert taken[-1] == count
    assert len(taken) + slot.dropped == slot.received == count
