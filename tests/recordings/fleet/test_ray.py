"""The same fleet on a real Ray cluster: a head and two workers as processes of this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs Ray (pip install ray)")

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.run import run_fleet

START_TIME = 120.0  # seconds
MARK = "RMPSAM_TEST_CLUSTER"  # in the environment of the cluster's processes


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a head without room for workers, and two nodes with room for one each."""
    port, folder = free_port(), tmp_path_factory.mktemp("ray")
    ray_command = [str(Path(sys.executable).with_name("ray")), "start", "--block"]
    common = ["--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    # Its sockets need a short path.
    temporary = Path("/tmp") / f"rmpsam_ray_{os.getpid()}"
    head = ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    head += [f"--temp-dir={temporary}", "--object-store-memory=100000000"]
    node = [f"--address=127.0.0.1:{port}", "--num-cpus=1", "--object-store-memory=100000000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {MARK: str(port)}
    processes = []
    try:
        for k, words in enumerate((head, node, node)):
            with (folder / f"{k}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [*ray_command, *common, *words],
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=environment,
                        start_new_session=True,
                    )
                )
            if k == 0:
                wait_until(lambda: is_open(port), processes[0], folder / "0.log")
        yield f"127.0.0.1:{port}"
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_open(port):
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, process, log):
    end = time.monotonic() + START_TIME
    while not condition():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.2)


def actors_of(cluster):
    """The processes in which actors of the cluster live."""
    mark, found = f"{MARK}={cluster.rpartition(':')[2]}\0".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, environment = ((folder / one).read_bytes() for one in ("cmdline", "environ"))
            if command.startswith(b"ray::Actor") and mark in environment:
                found.append(int(folder.name))
    return found


def test_twenty_recordings_with_a_killed_worker_a_hung_one_and_a_damaged_recording(
    cluster, fleet, options, local_run, content, entries, tmp_path
):
    killed, stopped = [], []

    def harm(source, entry):
        """After some recordings, kill -9 one of the actors, and later let another stand still."""
        done = len(list((tmp_path / "out").glob("*/run*")))
        if not killed and done >= 4:
            killed.extend(actors_of(cluster)[:1])
            os.kill(killed[0], signal.SIGKILL)
        elif not stopped and done >= 10:
            stopped.extend(one for one in actors_of(cluster)[:1] if one not in killed)
            os.kill(stopped[0], signal.SIGSTOP)

    manifest = run_fleet(
        [str(fleet)],
        str(tmp_path / "out"),
        options,
        workers=2,
        ray_address=cluster,
        patience=30.0,
        progress=harm,
    )
    assert killed and stopped
    assert dict(manifest.counts()) == {"done": 19, "refused": 1}
    output, _ = local_run
    assert entries(tmp_path / "out") == entries(output)
    assert content(tmp_path / "out") == content(output)


def test_no_cluster_is_one_line(fleet, options, tmp_path):
    with pytest.raises(RecordingError, match="no Ray cluster"):
        run_fleet(
            [str(fleet)], str(tmp_path / "out"), options, ray_address=f"127.0.0.1:{free_port()}"
        )
