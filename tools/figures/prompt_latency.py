"""How long clicks and everything take on the running node while images come.

    python tools/figures/prompt_latency.py --clicks 20 --everything 10 --cancels 10

Starts camera source (the demo's footage at 640x480, 10 images a second) and node with the default
parameters, both from the installed package. Clicks name the newest processed image, each another
one, so that every click pays for the image encoder. A goal is canceled at its first masks;
its result comes when the thread of prompts is free.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import cv2
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor

from rmpsam_ros.action import SegmentEverything
from rmpsam_ros.msg import Latency, PromptPoint
from rmpsam_ros.srv import AddPrompt

FOOTAGE = Path(__file__).resolve().parents[2] / "demo" / "footage" / "pedestrians.mp4"
SIZE = (640, 480)
RATE = 10.0
TIMEOUT = 30.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--everything", type=int, default=10)
    parser.add_argument("--cancels", type=int, default=10)
    parser.add_argument(
        "--pause", type=float, default=2.0, help="mean seconds between two requests"
    )
    parser.add_argument("--prompt-engine", default="", help="another one than the default")
    options = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(random.randint(1, 101))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with tempfile.TemporaryDirectory() as folder, programs(Path(folder), options.prompt_engine):
        rclpy.init()
        person = Person(options.pause)
        person.settle()
        before = person.rate()
        row("images a second before", [before])
        clicks = [person.click() for _ in range(options.clicks)]
        row("click on a new image, ms", [1e3 * seconds for seconds in clicks])
        found = [person.everything() for _ in range(options.everything)]
        if found:
            row("everything: first masks, ms", [1e3 * one[0] for one in found])
            row("everything: all masks, ms", [1e3 * one[1] for one in found])
            row("everything: masks", [one[2] for one in found])
            row("everything: prompts", [one[3] for one in found])
        freed = [person.cancel() for _ in range(options.cancels)]
        row("from cancel to free, ms", [1e3 * seconds for seconds in freed])
        row("images a second meanwhile", [person.rate()])
        person.leave()
        rclpy.shutdown()


def row(name: str, values: list[float]) -> None:
    """Print median, 90th percentile and extremes."""
    if values:
        ranked = sorted(values)
        p90 = ranked[math.ceil(0.9 * len(ranked)) - 1]
        print(
            f"{name}: p50 {statistics.median(ranked):.1f}, p90 {p90:.1f}, "
            f"min {ranked[0]:.1f}, max {ranked[-1]:.1f}, n {len(ranked)}",
            flush=True,
        )


@contextmanager
def programs(folder: Path, prompt_engine: str):
    """Run camera source and node."""
    from ament_index_python.packages import get_package_prefix

    video, images = cv2.VideoCapture(str(FOOTAGE)), folder / "images"
    images.mkdir()
    for number in range(100):
        read, image = video.read()
        if not read:
            break
        image = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(images / f"{number:03}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    bin_folder = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros"
    commands = [
        ("camera_source", [f"source:={images}", f"rate:={RATE}", "loop:=true"]),
        ("rmpsam_node", [f"prompt_engine:={prompt_engine}"] if prompt_engine else []),
    ]
    running = []
    with (folder / "log").open("w") as log:
        try:
            for name, values in commands:
                arguments = [word for value in values for word in ("-p", value)]
                command = [sys.executable, str(bin_folder / name), "--ros-args", *arguments]
                running.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log))
            yield
        except BaseException:
            print((folder / "log").read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait(30.0)


class Person:
    """Looks at the newest result and asks, one thing at a time."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._node = rclpy.create_node("person")
        self._newest: list[Latency] = []
        self._asked: set[tuple[int, int]] = set()
        self._node.create_subscription(Latency, "/rmpsam/latency", self._newest.append, 5)
        self._add = self._node.create_client(AddPrompt, "/rmpsam/add_prompt")
        self._all = ActionClient(self._node, SegmentEverything, "/rmpsam/segment_everything")
        self._random = random.Random(0)
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        self._stop = executor.shutdown
        self._spinner = threading.Thread(target=executor.spin, daemon=True)
        self._spinner.start()

    def leave(self) -> None:
        """Stop listening."""
        self._stop()
        self._spinner.join(10.0)
        self._node.destroy_node()

    def settle(self) -> None:
        """Wait until the node works on images."""
        end = time.monotonic() + 120.0
        while len(self._newest) < 20:
            if time.monotonic() > end:
                raise TimeoutError("no results")
            time.sleep(0.1)

    def rate(self, seconds: float = 5.0) -> float:
        """Return results a second."""
        before = len(self._newest)
        time.sleep(seconds)
        return (len(self._newest) - before) / seconds

    def _new_stamp(self):
        """Return the stamp of the newest result, of an image that was not asked about yet."""
        time.sleep(self._pause * self._random.uniform(0.5, 1.5))
        while True:
            stamp = self._newest[-1].header.stamp
            if (stamp.sec, stamp.nanosec) not in self._asked:
                self._asked.add((stamp.sec, stamp.nanosec))
                return stamp
            time.sleep(0.01)

    def click(self) -> float:
        """Return seconds until the mask of a click in the middle was there."""
        points = [PromptPoint(x=320.0, y=240.0, label=1)]
        request = AddPrompt.Request(stamp=self._new_stamp(), points=points)
        started = time.monotonic()
        answer = awaited(self._add.call_async(request))
        seconds = time.monotonic() - started
        if answer.code:
            raise RuntimeError(answer.message)
        return seconds

    def _send(self, on_feedback: Callable[[SegmentEverything.Feedback], None]):
        goal = SegmentEverything.Goal(stamp=self._new_stamp())
        started = time.monotonic()
        sent = self._all.send_goal_async(goal, lambda message: on_feedback(message.feedback))
        return started, awaited(sent)

    def everything(self) -> tuple[float, float, int, int]:
        """Return seconds to the first masks and to all of them, and how many masks and prompts."""
        first: list[float] = []
        totals: list[int] = []

        def note(feedback: SegmentEverything.Feedback) -> None:
            totals.append(feedback.total)
            if feedback.masks:
                first.append(time.monotonic())

        started, handle = self._send(note)
        result = awaited(handle.get_result_async()).result
        seconds = time.monotonic() - started
        if result.code or not result.complete:
            print(f"incomplete: {result.message}", flush=True)
        return first[0] - started, seconds, len(result.masks), totals[-1]

    def cancel(self) -> float:
        """Return seconds from a cancel, at the first masks, until the result of the goal."""
        begun = threading.Event()
        _, handle = self._send(lambda feedback: begun.set())
        result = handle.get_result_async()
        begun.wait(TIMEOUT)
        started = time.monotonic()
        handle.cancel_goal_async()
        awaited(result)
        return time.monotonic() - started


def awaited(future):
    """Return the result of a future of ROS."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(TIMEOUT):
        raise TimeoutError("no answer")
    return future.result()


if __name__ == "__main__":
    main()
