"""The measuring of the node: starts it, plays images to it at many rates, writes the report.

The method is that of NVIDIA's ros2_benchmark: images are made before and played by a process of
their own; the peak is the highest rate with less than 5 % of the images lost; then come fixed
rates, at which latencies mean something.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from rclpy.signals import SignalHandlerOptions

from rmpsam_ros.benchmark.errors import BenchmarkError
from rmpsam_ros.benchmark.node.figures import (
    AROUND_NETWORK,
    SEARCH_WIDTH,
    Run,
    Spread,
    find_peak,
    format_table,
)
from rmpsam_ros.benchmark.node.monitor import Monitor, within
from rmpsam_ros.node.process import use_large_shared_memory

NODE, TOPIC = "rmpsam", "/benchmark/image"
STAGES = ("wait", *AROUND_NETWORK, "inference", "total")
START_UP_SECONDS = 600.0  # an engine may have to be built
PROBE_SECONDS = 5.0
LOWEST_RATE, HIGHEST_RATE = 1.0, 500.0


def run_node_benchmark(
    sizes: Sequence[tuple[int, int]],
    rates: Sequence[float],
    seconds: float,
    parameters: Sequence[str],
    source: str,
    output: Path | None,
) -> None:
    """Measure the node, print a table, and write the report as JSON if asked to.

    Args:
        sizes: of the images, (width, height).
        rates: fixed rates besides the peak, images per second.
        seconds: length of the run at every fixed rate and at the peak.
        parameters: of the node, ``name:=value``.
        source: video or folder of images to be played; empty: made-up images.

    Raises:
        BenchmarkError: the node does not run; the message holds the end of its log.
        KeyboardInterrupt: SIGINT or SIGTERM came; everything that was started has ended.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A domain of its own, on this machine only: robots nearby must not see any of it.
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randrange(1, 102)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    use_large_shared_memory()
    # The options of the command are none of ROS; its own handlers would take the middleware away.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    monitor = Monitor(NODE)
    try:
        with _node(parameters) as node:
            runs = {
                f"{width}x{height}": _measure_size(
                    node, monitor, (width, height), rates, seconds, source
                )
                for width, height in sizes
            }
            network = monitor.network
    finally:
        monitor.close()
        rclpy.shutdown()
    print(f"\n{network}\n\n{format_table(runs)}\n\nMilliseconds: median (99th percentile).")
    if output is not None:
        _write(output, _report(network, parameters, source, runs))


class NodeProcess:
    """The node under test, as the operating system sees it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def check(self) -> None:
        """Raise BenchmarkError if the node has ended."""
        if self._process.poll() is not None:
            raise BenchmarkError(f"the node has ended:\n{self.log()}")

    def log(self) -> str:
        """Return the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def cpu_seconds(self) -> float:
        """Return the CPU time it took so far; 0 where the system does not tell."""
        with contextlib.suppress(OSError):
            # Behind the name, which may hold anything, in its brackets.
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def memory(self) -> float:
        """Return its resident memory in 10^6 bytes; 0 where the system does not tell."""
        with contextlib.suppress(OSError):
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return 0.0


class Playback:
    """The process that publishes the images."""

    def __init__(self, size: tuple[int, int], source: str) -> None:
        command = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
        command += ["-m", "rmpsam_ros.benchmark.node.playback", "--topic", TOPIC]
        command += ["--source", source, "--size", *map(str, size)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def play(self, rate: float, seconds: float) -> dict[str, Any]:
        """Have it publish, and return what it did."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps({"rate": rate, "seconds": seconds}), file=self._process.stdin)
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise BenchmarkError("the images cannot be played; the reason is above")
        return dict(json.loads(answer))

    def close(self) -> None:
        """End it, at once if it still plays."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _node(parameters: Sequence[str]) -> Iterator[NodeProcess]:
    try:
        program = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros" / "rmpsam_node"
    except PackageNotFoundError as error:
        raise BenchmarkError(
            "the package rmpsam_ros is not installed in this ROS environment; build it and source "
            "install/setup.bash"
        ) from error
    command = [sys.executable, str(program), "--ros-args", "-r", f"image:={TOPIC}"]
    for parameter in parameters:
        command += ["-p", parameter]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "node.log"
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            yield NodeProcess(process, log)
        finally:
            process.terminate()
            try:
                process.wait(20.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _measure_size(
    node: NodeProcess,
    monitor: Monitor,
    size: tuple[int, int],
    rates: Sequence[float],
    seconds: float,
    source: str,
) -> dict[str, Run]:
    playback = Playback(size, source)

    def measure(rate: float, length: float) -> Run:
        run = _measure(node, monitor, playback, rate, length)
        print(
            f"{size[0]}x{size[1]} at {rate:.1f} Hz for {length:.0f} s: {run.answered} of "
            f"{run.sent} images answered, end to end {run.end_to_end.p50:.1f} ms",
            flush=True,
        )
        return run

    try:
        _warm_up(node, monitor, playback)
        probe = min(PROBE_SECONDS, seconds)
        runs = {}
        peak = find_peak(lambda rate: measure(rate, probe), LOWEST_RATE, HIGHEST_RATE)
        rate = 0.0 if peak is None else peak.rate
        while rate >= LOWEST_RATE:  # what a short probe passes, a longer run may not
            runs["peak"] = measure(rate, seconds)
            if runs["peak"].sustained:
                break
            rate /= SEARCH_WIDTH
        for rate in rates:
            runs[f"{rate:g} Hz"] = measure(rate, seconds)
    finally:
        playback.close()
    return runs


def _warm_up(node: NodeProcess, monitor: Monitor, playback: Playback) -> None:
    end = time.monotonic() + START_UP_SECONDS
    monitor.forget()
    while not monitor.latencies:
        node.check()
        if time.monotonic() > end:
            raise BenchmarkError(f"no result after {START_UP_SECONDS:.0f} s:\n{node.log()}")
        playback.play(4.0, 1.0)
    played = playback.play(4.0, 2.0)
    monitor.wait_for_answers(played["first"], played["last"], played["sent"])


def _measure(
    node: NodeProcess, monitor: Monitor, playback: Playback, rate: float, seconds: float
) -> Run:
    before = monitor.latencies[-1] if monitor.latencies else None
    started, cpu = time.monotonic(), node.cpu_seconds()
    played = playback.play(rate, seconds)
    cpu = (node.cpu_seconds() - cpu) / (time.monotonic() - started)
    first, last = played["first"], played["last"]
    monitor.wait_for_answers(first, last, played["sent"])
    node.check()
    answers = monitor.answers(first, last)
    latencies = [latency for latency in monitor.latencies if within(latency, first, last)]
    after = latencies[-1] if latencies else before

    def counted(name: str) -> int:
        return sum(
            sign * getattr(latency, f"frames_{name}")
            for sign, latency in ((1, after), (-1, before))
            if latency is not None
        )

    run = Run(
        rate=rate,
        seconds=(last - first) * 1e-9,
        sent=played["sent"],
        answered=len(answers),
        received=counted("received"),
        processed=counted("processed"),
        dropped=counted("dropped"),
        failed=counted("failed"),
        end_to_end=Spread.of([(when - stamp) * 1e-6 for stamp, when in answers.items()]),
        stages={
            name: Spread.of([getattr(latency, f"{name}_ms") for latency in latencies])
            for name in STAGES
        },
        around=Spread.of(
            [
                sum(getattr(latency, f"{name}_ms") for name in AROUND_NETWORK)
                for latency in latencies
            ]
        ),
        cpu=cpu,
        memory=node.memory(),
    )
    newest = monitor.latencies[-1:]
    monitor.forget()
    monitor.latencies.extend(newest)
    return run


def _report(
    network: str, parameters: Sequence[str], source: str, runs: dict[str, dict[str, Run]]
) -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.platform()}",
        "rmw": rclpy.get_rmw_implementation_identifier(),
        "network": network,
        "parameters": list(parameters),
        "images": source or "made up",
        "milliseconds": "mean, p50, p99, longest",
        "runs": {
            size: {
                name: asdict(run)
                | {
                    "sent_rate": run.sent_rate,
                    "answered_rate": run.answered_rate,
                    "lost": run.lost,
                    "lost_in_transport": run.sent - run.received,
                }
                for name, run in named.items()
            }
            for size, named in runs.items()
        },
    }


def _write(path: Path, report: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise BenchmarkError(f"'{path}' cannot be written: {error.strerror}") from error
