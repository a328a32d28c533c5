"""What both programs do around their nodes."""

import platform
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rmpsam_ros.node.process import (
    ARENAS,
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


@pytest.mark.skipif(sys.platform != "linux", reason="looks at threads as Linux shows them")
def test_products_of_matrices_wait_for_no_other_thread(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    script = Path(__file__).parents[2] / "scripts/rmpsam_node"
    beginning = script.read_text().partition("from rmpsam_ros")[0]
    product = "import numpy; a = numpy.ones((500, 500)); a @ a; "
    command = [sys.executable, "-c", f"{beginning}\n{product}print(os.listdir('/proc/self/task'))"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.count("'") == 2, done.stdout


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


ARENAS_USED = """
import ctypes, re, sys, tempfile, threading
from rmpsam_ros.node.process import use_few_arenas

use_few_arenas()
everybody = threading.Barrier(12)

def take():
    everybody.wait()
    kept = [bytearray(50_000) for _ in range(20)]
    everybody.wait()
    del kept

threads = [threading.Thread(target=take) for _ in range(12)]
for one in threads:
    one.start()
for one in threads:
    one.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
with tempfile.TemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    file.seek(0)
    print(len(re.findall(b"<heap nr", file.read())))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(
    ("chosen", "few"),
    [
        ({}, True),
        ({"MALLOC_ARENA_MAX": "64"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=64"}, False),
    ],
)
def test_threads_share_few_arenas_unless_the_user_chose(monkeypatch, tmp_path, chosen, few):
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", ARENAS_USED]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=tmp_path)
    number = int(done.stdout)
    assert (number <= ARENAS + 3) == few, number  # modules have made some before


GIVEN_BACK = """
import re
from pathlib import Path
from rmpsam_ros.node.process import give_back_memory, use_few_arenas

def resident():
    status = Path("/proc/self/status").read_text()
    return int(re.search("VmRSS:.*?([0-9]+)", status)[1]) / 1e3

use_few_arenas()
many = [bytearray(100_000) for _ in range(1000)]
stays = bytearray(100_000)
del many
before = resident()
give_back_memory()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_is_free_is_given_back(tmp_path):
    command = [sys.executable, "-c", GIVEN_BACK]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=tmp_path)
    assert float(done.stdout) > 80.0


def test_the_end_is_at_once_and_loses_nothing_that_was_printed(tmp_path):
    lines = (
        "import atexit, gc, weakref",
        "from rmpsam_ros.node.process import end",
        "class Held: pass",
        "held = Held(); held.itself = held",  # a circle, as the handles of a node are
        "weakref.finalize(held, print, 'freed').atexit = False",
        "del held",
        "atexit.register(print, 'late')",
        "end(3)",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "freed\n"), done.stderr
