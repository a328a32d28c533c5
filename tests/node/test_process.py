"""What both programs do around their nodes."""

import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rmpsam_ros.node.process import (
    OLD_PROFILE_VARIABLE,
    PROFILE_VARIABLE,
    spin,
    use_large_shared_memory,
    wait_for,
)

VARIABLES = (
    PROFILE_VARIABLE,
    OLD_PROFILE_VARIABLE,
    "FASTDDS_BUILTIN_TRANSPORTS",
    "ROS_LOCALHOST_ONLY",
)


@pytest.fixture
def environment(monkeypatch):
    import os

    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    return os.environ


def test_fast_dds_gets_a_profile_with_room_for_images(environment, ros):
    use_large_shared_memory()
    (path,) = (environment[name] for name in VARIABLES[:2] if name in environment)
    content = ElementTree.fromstring(Path(path).read_text())
    (size,) = (int(one.text) for one in content.iter() if one.tag.endswith("segment_size"))
    assert size >= 3 * 1920 * 1080 * 3


@pytest.mark.parametrize("name", VARIABLES[:3])
def test_what_the_user_has_chosen_stays(environment, name):
    environment[name] = "mine"
    use_large_shared_memory()
    assert {one: environment.get(one) for one in VARIABLES} == dict.fromkeys(VARIABLES) | {
        name: "mine"
    }


def test_a_process_that_is_to_stay_on_this_machine_keeps_its_transports(environment):
    environment["ROS_LOCALHOST_ONLY"] = "1"
    use_large_shared_memory()
    assert PROFILE_VARIABLE not in environment
    assert OLD_PROFILE_VARIABLE not in environment


def test_waiting():
    stop = threading.Event()
    started = time.monotonic()
    assert not wait_for(stop, 0.01)
    assert not wait_for(stop, -1.0)
    assert time.monotonic() - started < 30.0
    threading.Timer(0.01, stop.set).start()
    assert wait_for(stop)
    assert wait_for(stop, 0.0)


def test_a_callback_that_raises_does_not_end_the_spinning(ros, request):
    wait_until = request.getfixturevalue("wait_for")
    from rclpy.executors import MultiThreadedExecutor

    node = ros.create_node("raising")
    calls = []

    def fail():
        calls.append(1)
        raise ZeroDivisionError

    node.create_timer(0.001, fail)
    executor = MultiThreadedExecutor(2)
    executor.add_node(node)
    stop = threading.Event()
    thread = threading.Thread(target=spin, args=(executor, stop))
    thread.start()
    wait_until(lambda: len(calls) > 5, "calls after the first failure")
    stop.set()
    executor.shutdown()
    thread.join(60.0)
    assert not thread.is_alive()
    node.destroy_node()
