"""Whatever ends the process, there is a whole result or none."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import SECOND, START, scene

# A pipeline without a network: what is tested here does not depend on one. PyTorch is imported
# once, and every run is a process that is forked from there.
PROGRAM = """
import importlib.util, os, resource, sys
from pathlib import Path
from rmpsam_ros.recordings.bag import BagOptions, process_bag
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.settings import read_settings

source, target, fake = sys.argv[1:]
spec = importlib.util.spec_from_file_location("fake_pipeline", fake)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
options = BagOptions(read_settings()[0], results=("panoptic", "tracks", "overlay"))


def work(times, limit):
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        for _ in range(times):
            process_bag(Path(source), Path(target), module.FakePipeline(), options, overwrite=True)
        return "done"
    except RecordingError as error:
        return str(error)


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        said = work(*map(int, line.split()))
        os.write(1, f"{said}\\n".encode())
        os._exit(0)
    print(child, flush=True)
"""
FAKE = Path(__file__).parents[1] / "node" / "fake_pipeline.py"


@pytest.fixture(scope="module")
def source(write_bag, tmp_path_factory):
    def fill(bag):
        for k in range(20):
            bag.image("/image", START + k * SECOND // 10, scene(k))

    return write_bag(tmp_path_factory.mktemp("faults") / "bag", fill)


class Program:
    """Runs the program above."""

    def __init__(self, source, target):
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(source), str(target), str(FAKE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, times=1, limit=0):
        """Write the result some times, in a process of its own; its id."""
        self.process.stdin.write(f"{times} {limit}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def said(self):
        """What a process says at its end."""
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def shared(source, tmp_path_factory):
    """The program, and the folder of its results."""
    results = tmp_path_factory.mktemp("written") / "results"
    program = Program(source, results / "out")
    yield program, results
    program.process.kill()
    program.process.wait()
    program.process.stdin.close()
    program.process.stdout.close()


@pytest.fixture
def program(shared):
    """The program, with nothing written yet."""
    shutil.rmtree(shared[1], ignore_errors=True)
    return shared


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_kill_at_random_moments_leaves_the_old_result_or_none(program):
    """Of ten processes, each of which writes the result anew, over and over."""
    run, results = program
    generator = random.Random(5)
    run.start()
    assert run.said() == "done"
    whole = content(results / "out")
    began = time.monotonic()
    run.start()
    assert run.said() == "done"
    once = time.monotonic() - began
    survived = 0
    for _ in range(10):
        process = run.start(times=50)
        time.sleep(generator.uniform(0.0, 2.0 * once))
        kill(process)
        found = {path.name for path in results.iterdir()}
        assert found <= {"out", ".out.partial"}
        if "out" in found:
            survived += 1
            assert content(results / "out") == whole
    assert survived
    run.start()
    assert run.said() == "done"
    assert [path.name for path in results.iterdir()] == ["out"]
    assert content(results / "out") == whole


def kill(process):
    """Kill a process, and wait until it holds nothing any more."""
    os.kill(process, signal.SIGKILL)
    wait_for_the_end_of(process)


def wait_for_the_end_of(process):
    while (state := Path(f"/proc/{process}/stat")).exists() and " Z " not in state.read_text():
        time.sleep(0.01)


def test_a_full_disk_is_one_line_and_leaves_nothing(program):
    """A limit of the file size stands for a full disk: it fails in the middle of a write."""
    run, results = program
    run.start(limit=20_000)
    assert "no space left" in run.said()
    assert list(results.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_file_system_without_room(program):
    """A real one, of 16 KiB."""
    run, results = program
    results.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(results)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        process = run.start()
        assert "no space left" in run.said()
        wait_for_the_end_of(process)
        assert list(results.iterdir()) == []
    finally:
        subprocess.run(["umount", str(results)], check=True)


def test_a_second_process_on_one_output_is_refused(program):
    run, results = program
    first = run.start(times=50)
    end = time.monotonic() + 60.0
    while not (results / ".out.partial" / "out").exists():
        assert time.monotonic() < end
    os.kill(first, signal.SIGSTOP)
    try:
        run.start()
        assert "another process is writing" in run.said()
    finally:
        kill(first)
