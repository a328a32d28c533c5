"""Leaves the node running for a long time with everything going wrong that can, and counts.

    python tools/soak/soak.py [--seconds 1800] [--rate 30] [--cameras front,rear] ...

in an environment where the installed package is found. Starts the node as a process and sends it
images of changing sizes and encodings, or JPEG and PNG (``--compressed``); meanwhile images are
malformed or damaged, have forged and endless names, publishers vanish and come again, subscribers
and publishers do not fit, parameters change well and badly, prompts are made well and badly, on
images long gone, and by crowds at once, and time jumps. At half time and at the end the node is
given `REST` seconds of small images in peace, before its memory is read. Prints one JSON object.
Status 1 if

- the node ended, did not end when it was told to, logged an exception, or a forged line;
- a request was not answered;
- for any camera: received is not processed + dropped + failed, or more images are missing than the
  middleware lost: sent = received + lost in gaps, which the node counts, + at most `AT_THE_ENDS`
  for every publisher, of which the first and last images have no neighbours to be missed between;
- memory, threads or open files are not flat (see `soak_memory`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as implementation
from soak_camera import Camera, CompressedCamera
from soak_faults import Faults
from soak_memory import judge_memory

from rmpsam_ros.node.process import use_large_shared_memory

AT_THE_ENDS = 5  # images that may vanish unseen at the two ends of a publisher
REST = 10.0  # seconds, above keep_seconds: kept are small images only


class NodeUnderTest:
    """The node as a process."""

    def __init__(self, options, log):
        program = Path(__file__).with_name("memory_probe.py")
        self._memory = options.memory or log.with_suffix(".memory")
        self._memory.unlink(missing_ok=True)
        side = options.network_side
        settings = [f"cameras:={options.cameras}"] if options.cameras else []
        if options.compressed:
            settings.append("image_transport:=compressed")
        settings += ["weights:=random", "keep_megabytes:=32", "prompt_engine:=rmpsam"]
        settings += [f"long_side:={side}", f"short_side:={side}", "input_timeout:=1.0"]
        settings += ["prompt_requests_rate:=100.0", "prompt_timeout:=60.0", *options.set]
        command = [sys.executable, str(program), str(self._memory), "--ros-args"]
        for setting in settings:
            command += ["-p", setting]
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    def wait_until_active(self):
        end = time.monotonic() + 300.0
        while "active: waiting for" not in self.log:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the node did not start:\n{self.log}")
            time.sleep(0.2)

    def memory(self):
        """What `memory_probe` has written so far."""
        lines = self._memory.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def end(self):
        """Send SIGINT; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


def losses_seen(diagnostics, camera):
    """What the node counted as lost on the way to a camera."""
    part = f"rmpsam: {camera.name} input" if camera.name else "rmpsam: input"
    for status in diagnostics[-1].status if diagnostics else ():
        if status.name == part:
            return int({value.key: value.value for value in status.values}["lost on the way"])
    return -1


def account(camera, latency, seen):
    """Where the images of a camera are, and what does not add up."""
    if latency is None:
        return {"sent": camera.sent}, [f"camera '{camera.name}': no image is answered at the end"]
    counts = {
        name: getattr(latency, f"frames_{name}")
        for name in ("received", "processed", "dropped", "failed")
    }
    missing = camera.sent - counts["received"]
    figures = {"sent": camera.sent, "malformed": camera.bad, **counts}
    figures |= {"lost in gaps": seen, "lost at the ends": missing - seen}
    figures["publishers"] = camera.publishers
    problems = []
    if counts["received"] != counts["processed"] + counts["dropped"] + counts["failed"]:
        problems.append(f"camera '{camera.name}': received images are unaccounted for: {counts}")
    if not 0 <= missing - seen <= AT_THE_ENDS * camera.publishers:
        problems.append(f"camera '{camera.name}': sent images are unaccounted for: {figures}")
    if not counts["processed"]:
        problems.append(f"camera '{camera.name}': nothing was processed")
    return figures, problems


def spin(executor, done):
    """Spin although other threads destroy publishers and subscriptions all the time.

    rclpy raises when one is destroyed just while the executor collects what to wait for.
    """
    while not done.is_set():
        with contextlib.suppress(implementation.InvalidHandle):
            executor.spin_once(timeout_sec=0.2)


def rest(under_test, cameras, faults, seconds):
    """Give the node peace for a while; the figures of its memory then."""
    with faults.turn:
        faults.clear_prompts()
        for camera in cameras:
            camera.peace.set()
        time.sleep(seconds)
        figures = under_test.memory()[-1]
        for camera in cameras:
            camera.peace.clear()
    return figures


def soak(options):
    node = rclpy.create_node("soak")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    done = threading.Event()
    spinner = threading.Thread(target=spin, args=(executor, done), daemon=True)
    spinner.start()
    diagnostics: list = []
    node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda one: diagnostics.__setitem__(slice(None), [one]), 5
    )
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        under_test = NodeUnderTest(options, Path(folder) / "node.log")
        try:
            under_test.wait_until_active()
            names = options.cameras.split(",") if options.cameras else [""]
            kind = CompressedCamera if options.compressed else Camera
            cameras = [kind(node, name, options.rate, k) for k, name in enumerate(names)]
            faults = Faults(node, cameras, seed=7)
            for thread in (*cameras, faults):
                thread.start()
            rests = []
            for _ in range(2):
                end = time.monotonic() + options.seconds / 2.0
                while time.monotonic() < end and under_test.process.poll() is None:
                    time.sleep(0.2)
                pause = min(REST, options.seconds / 5.0)
                rests.append(rest(under_test, cameras, faults, pause))
            memory, wrong = judge_memory(*rests)
            problems += wrong
            faults.stop.set()
            faults.join()
            for camera in cameras:
                camera.stop.set()
                camera.join()
            last = [camera.last_counts() for camera in cameras]
            time.sleep(2.5)  # until the next diagnostics
            figures = {}
            for camera, latency in zip(cameras, last, strict=True):
                row, wrong = account(camera, latency, losses_seen(diagnostics, camera))
                figures[camera.name or "camera"] = row
                problems += wrong
            if under_test.process.poll() is not None:
                problems.append(f"the node ended with {under_test.process.poll()}")
        finally:
            status = under_test.end()
        log = under_test.log
    if status != 0:
        problems.append(f"the node ended with {status} after SIGINT")
    for words in ("Traceback", "callback failed", "Error in"):
        if words in log:
            at = log.index(words)
            problems.append(f"the log holds '{words}': ...{log[max(at - 300, 0) : at + 1500]}")
    if any(line.startswith("[ERROR] [1.0]") or "\x1b[31m" in line for line in log.splitlines()):
        problems.append("text of a publisher forged a line of the log, or commands the terminal")
    if not faults.finished:
        problems.append("the faults ended by an error of this tool")
    if faults.unanswered:
        problems.append(f"{faults.unanswered} requests were not answered")
    report = {
        "seconds": options.seconds,
        "rate": options.rate,
        "images": figures,
        "faults": dict(faults.done),
        "unanswered": faults.unanswered,
        "memory": memory,
        "log lines": len(log.splitlines()),
        "problems": problems,
    }
    print(json.dumps(report, indent=1))
    done.set()
    spinner.join(10.0)
    executor.shutdown()
    return 1 if problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--rate", type=float, default=30.0, help="images per second and camera")
    parser.add_argument("--cameras", default="", help="names separated by commas")
    parser.add_argument("--compressed", action="store_true", help="JPEG and PNG instead of raw")
    parser.add_argument("--network-side", type=int, default=96)
    parser.add_argument("--memory", type=Path, help="file for the figures of every second")
    parser.add_argument("--set", action="append", default=[], metavar="NAME:=VALUE")
    options = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randrange(1, 102)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    use_large_shared_memory()
    rclpy.init(args=[])
    try:
        return soak(options)
    finally:
        rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
