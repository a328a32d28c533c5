"""Measures the console: age of the frames, bandwidth, processor time, memory, and the node's rate.

    python tools/measure_console.py --seconds 20 --out console.json

Starts camera source, perception node and console from the installed package as processes, and
programs that look as browsers do (one acknowledgement for each frame, nothing is drawn). In every
configuration 0, 1 and 5 of them look in turn, several times over, so that other work
of the machine hits all alike; the node's rate is compared within the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOOTAGE = ROOT / "demo" / "footage" / "pedestrians.mp4"
BROWSERS = (0, 1, 5)
SETTLE = 3.0  # seconds after the number of browsers has changed
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """What one looking program got: ages in seconds, bytes, and the node's counts."""

    ages: list[float] = field(default_factory=list)
    received: int = 0
    counts: list[tuple[float, int]] = field(default_factory=list)


async def look(url: str, seen: Seen, wants_frames: bool = True) -> None:
    """Looks as a browser does until it is cancelled."""
    import aiohttp

    place, _, token = url.partition("#token=")
    host = place.split("//")[1].rstrip("/")
    view = {"type": "view", "camera": "", "quality": "medium", "side": 0}
    async with aiohttp.ClientSession() as client:
        sock = await client.ws_connect(f"ws://{host}/socket", headers={"Origin": f"http://{host}"})
        await sock.send_json({"type": "hello", "token": token})
        looking = False
        async for message in sock:
            seen.received += len(message.data)
            if message.type is aiohttp.WSMsgType.BINARY:
                length, age = struct.unpack_from("<If", message.data)
                header = json.loads(message.data[8 : 8 + length])
                await sock.send_json({"type": "ack", "number": header["number"]})
                if "panoptic" in header:
                    seen.ages.append(age)
                continue
            content = json.loads(message.data)
            if content["type"] != "status":
                continue
            rows = content.get("latencies") or []
            if rows:
                seen.counts.append((time.monotonic(), rows[-1]["processed"]))
            if content["cameras"] and not looking:
                looking = True
                await sock.send_json({**view, "paused": not wants_frames})


@contextlib.contextmanager
def program(name: str, parameters: dict[str, Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs one program: of the installed package, or a file."""
    from ament_index_python.packages import get_package_prefix

    folder = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros"
    path = Path(name) if "/" in name else folder / name
    command = [sys.executable, str(path), "--ros-args"]
    for key, value in parameters.items():
        command += ["-p", f"{key}:={value}"]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def wait_for_log(process: subprocess.Popen[bytes], log: Path, words: str, seconds: float) -> str:
    """Returns a log once it holds some words; raises what the program died of, or TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended = process.poll() is not None
        text = log.read_text(errors="replace")
        if words in text:
            return text
        if ended:
            how = f"{process.args!r} ended with {process.returncode}"
            raise RuntimeError(f"{how}:\n{text[-2000:]}")
        time.sleep(0.2)
    raise TimeoutError(f"'{words}' is not in {log} after {seconds:.0f} s")


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Returns the processor time that a process has taken."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(process: subprocess.Popen[bytes]) -> float:
    """Returns the resident memory of a process, 10^6 bytes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Counter:
    """Counts what the node processes, by its ~/latency, without the console."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.signals import SignalHandlerOptions

        from rmpsam_ros.msg import Latency

        # Signals are handled here: rclpy's handlers would not end the program.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._rclpy = rclpy
        self.node = rclpy.create_node("measure_console")
        self.processed = 0
        self.node.create_subscription(Latency, "/rmpsam/latency", self._on_latency, 10)

    def _on_latency(self, message: Any) -> None:
        self.processed = message.frames_processed

    async def spin(self) -> None:
        """Takes messages until it is cancelled."""
        while True:
            self._rclpy.spin_once(self.node, timeout_sec=0)
            await asyncio.sleep(0.01)


async def measure(
    url: str, console: subprocess.Popen[bytes], counter: Counter, seconds: float, rounds: int
) -> dict[int, dict[str, float]]:
    """Has 0, 1 and 5 programs look in turn; returns the figures by their number."""
    sums: dict[int, dict[str, list[float]]] = {number: {} for number in BROWSERS}
    spinner = asyncio.create_task(counter.spin())
    for step in range(rounds * len(BROWSERS)):
        number = BROWSERS[step % len(BROWSERS)]
        seen = [Seen() for _ in range(number)]
        tasks = [asyncio.create_task(look(url, one)) for one in seen]
        await asyncio.sleep(SETTLE)
        for one in seen:
            one.ages.clear()
            one.received = 0
        processed, cpu, started = counter.processed, cpu_seconds(console), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - started
        row = sums[number]
        row.setdefault("node_rate", []).append((counter.processed - processed) / elapsed)
        row.setdefault("cpu", []).append((cpu_seconds(console) - cpu) / elapsed)
        for one in seen:
            row.setdefault("shown_rate", []).append(len(one.ages) / elapsed)
            row.setdefault("bandwidth", []).append(one.received / elapsed / 1e6)
            row.setdefault("ages", []).extend(one.ages)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    spinner.cancel()
    return {number: summary(row) for number, row in sums.items()}


def summary(row: dict[str, list[float]]) -> dict[str, float]:
    """Returns medians, and of the ages median and 99th percentile, milliseconds."""
    ages = sorted(row.pop("ages", []))
    found = {name: statistics.median(values) for name, values in row.items()}
    if ages:
        found["age_p50_ms"] = 1000 * ages[len(ages) // 2]
        found["age_p99_ms"] = 1000 * ages[min(len(ages) - 1, int(0.99 * len(ages)))]
    return found


async def grow(url: str, console: subprocess.Popen[bytes], minutes: float) -> list[float]:
    """Has one program look; returns the console's memory once every half minute, 10^6 bytes."""
    task = asyncio.create_task(look(url, Seen()))
    found = []
    for _ in range(round(minutes * 2) + 1):
        found.append(memory(console))
        await asyncio.sleep(30.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return found


def main() -> int:
    """Measures and prints one line for each configuration and number of browsers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10.0, help="of memory; 0: not")
    parser.add_argument(
        "--node",
        default="rmpsam_node",
        help="the perception node; tests/console/fake_node.py has no network, so that "
        "the ages are those of middleware and console alone",
    )
    parser.add_argument("--sizes", default="640x480,1920x1080")
    parser.add_argument("--rates", default="10,30")
    parser.add_argument("--out", type=Path, default=Path("console.json"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("measure_console: terminated"))
    os.environ["ROS_DOMAIN_ID"] = str(random.randrange(20, 100))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    from rmpsam_ros.node.process import use_large_shared_memory

    use_large_shared_memory()
    counter = Counter()
    results: dict[str, Any] = {"load": [os.getloadavg()]}
    folder = Path(tempfile.mkdtemp())
    logs = {name: folder / f"{name}.log" for name in ("node", "console", "camera")}
    with (
        program(options.node, {"prompt_engine": "rmpsam"}, logs["node"]) as node,
        program("rmpsam_console", {"port": 0}, logs["console"]) as console,
    ):
        text = wait_for_log(console, logs["console"], "open http", 120)
        url = re.findall(r"open (\S+)", text)[0]
        wait_for_log(node, logs["node"], "active: waiting", 600)
        for size in options.sizes.split(","):
            width, height = size.split("x")
            for rate in options.rates.split(","):
                camera = {"source": FOOTAGE, "rate": float(rate), "loop": "true"}
                camera |= {"width": width, "height": height}
                with program("camera_source", camera, logs["camera"]):
                    time.sleep(8.0)
                    rows = asyncio.run(
                        measure(url, console, counter, options.seconds, options.rounds)
                    )
                results[f"{size} {rate} Hz"] = rows
                for number, row in rows.items():
                    figures = ", ".join(f"{name} {value:.3f}" for name, value in row.items())
                    print(f"{size} {rate} Hz, {number} browsers: {figures}", flush=True)
        if options.minutes:
            with program("camera_source", {"source": FOOTAGE, "rate": 10.0, "loop": "true"},
                         logs["camera"]):  # fmt: skip
                results["memory"] = asyncio.run(grow(url, console, options.minutes))
            print("memory, MB every 30 s:", " ".join(f"{one:.0f}" for one in results["memory"]))
    results["load"].append(os.getloadavg())
    options.out.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
