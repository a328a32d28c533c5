"""Many clients ask the node at random, well and badly, while images come in.

    python tests/tools/prompt_storm.py [--clients 50] [--seconds 60] [--engine mobile_sam] ...

in an environment where the installed package is found. Starts the node as a process, measures its
frame rate without and with the clients, and its memory, threads and open files before and after,
and prints one JSON object. Status 1 if a request was not answered or the node ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from array import array
from collections import Counter
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_prefix
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from rmpsam_ros.msg import Latency, PromptBox, PromptedMaskArray, PromptPoint
from rmpsam_ros.srv import AddPrompt, ClearPrompts, ListPrompts, RemovePrompt, SegmentEverything

SERVICES = {
    "add_prompt": AddPrompt,
    "remove_prompt": RemovePrompt,
    "list_prompts": ListPrompts,
    "clear_prompts": ClearPrompts,
    "segment_everything": SegmentEverything,
}
WEIGHTS = {"add_prompt": 80, "remove_prompt": 8, "list_prompts": 8, "clear_prompts": 2}
PATIENCE = 120.0  # seconds until a request counts as unanswered
QUIET = 15.0  # seconds of rest before the memory is read


class Camera(threading.Thread):
    """Publishes images with a bright square that moves."""

    def __init__(self, node, width, height, rate):
        super().__init__(daemon=True)
        self._node, self._size, self._rate = node, (width, height), rate
        self._publisher = node.create_publisher(Image, "/image", 1)
        self.stamps = [Time()]

    def run(self):
        width, height = self._size
        step = 0
        while True:
            rows = bytearray(bytes((40, 60, 40)) * (width * height))
            left, side = 3 * step % (width // 2), height // 3
            for y in range(side, 2 * side):
                start = 3 * (y * width + left)
                rows[start : start + 3 * side] = bytes((230, 180, 30)) * side
            image = Image(width=width, height=height, encoding="rgb8", step=3 * width)
            image.header.stamp = self._node.get_clock().now().to_msg()
            image.data = array("B", rows)
            self._publisher.publish(image)
            self.stamps = [*self.stamps[-60:], image.header.stamp]
            step += 1
            time.sleep(1.0 / self._rate)


class Client(threading.Thread):
    """Asks for one thing after the other until the end, and notes what it was answered."""

    def __init__(self, clients, camera, seed, end, pause, size, everything):
        super().__init__(daemon=True)
        self._clients, self._camera, self._end, self._pause = clients, camera, end, pause
        self._random, self._size = random.Random(seed), size
        self._weights = WEIGHTS | {"segment_everything": everything}
        self.codes, self.waits, self.unanswered = Counter(), [], 0

    def run(self):
        while time.monotonic() < self._end:
            time.sleep(self._random.uniform(0.0, 2.0 * self._pause))
            (name,) = self._random.choices(list(self._weights), list(self._weights.values()))
            done, started = threading.Event(), time.monotonic()
            future = self._clients[name].call_async(self._request(name))
            future.add_done_callback(lambda _, done=done: done.set())
            if done.wait(PATIENCE):
                self.codes[future.result().code] += 1
                self.waits.append(time.monotonic() - started)
            else:
                self.unanswered += 1

    def _request(self, name):
        pick = self._random
        request = SERVICES[name].Request()
        if name == "segment_everything":
            request.points_per_side = pick.choice([0, 2, 200])
        if name == "remove_prompt":
            request.object_id = pick.choice(["a", "b", "c", "", "nobody"])
        if name == "add_prompt":
            request.object_id = pick.choice(["", "", "a", "b", "c", "x" * 500])
            request.track = pick.random() < 0.5
            request.stamp = pick.choice([Time(), Time(), pick.choice(self._camera.stamps), BAD])
            request.points = [self._point() for _ in range(pick.choice([0, 1, 1, 2, 3, 500]))]
            request.boxes = [self._box() for _ in range(pick.choice([0, 0, 1, 50]))]
        return request

    def _point(self):
        pick, (width, height) = self._random, self._size
        x = pick.choice([pick.uniform(0, width - 1)] * 9 + [float("nan"), 1e9, -5.0])
        return PromptPoint(x=x, y=pick.uniform(0, height - 1), label=pick.choice([0, 1, 1, 1, 1]))

    def _box(self):
        pick, (width, height) = self._random, self._size
        x, y = pick.uniform(0, width / 2), pick.uniform(0, height / 2)
        x_max = pick.choice([x + 30, x + 60, x - 5, float("inf")])
        return PromptBox(x_min=x, y_min=y, x_max=x_max, y_max=y + 40)


BAD = Time(sec=12345)


class Rate:
    """Frames per second that the node processes, by its own count."""

    def __init__(self, node):
        self._newest = None
        node.create_subscription(Latency, "/rmpsam/latency", self._note, 10)

    def _note(self, message):
        self._newest = (time.monotonic(), message.frames_processed)

    def newest(self):
        while self._newest is None:
            time.sleep(0.05)
        return self._newest

    def over(self, wait):
        first, frames = self.newest()
        wait()
        last, more = self.newest()
        return (more - frames) / (last - first)


def usage(pid):
    """Return memory, threads and open files of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {words[0].rstrip(":"): words[1] for words in map(str.split, lines) if words[1:]}
    return {
        "rss_mib": round(int(status["VmRSS"]) / 1024, 1),
        "threads": int(status["Threads"]),
        "files": len(os.listdir(f"/proc/{pid}/fd")),
    }


@contextlib.contextmanager
def running_node(parameters):
    path = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros" / "rmpsam_node"
    command = [sys.executable, str(path), "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    process = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30.0)
            except subprocess.TimeoutExpired:
                process.kill()


def storm(options, process, node):
    """Run everything and return the figures."""
    size = (options.width, options.height)
    rate, camera = Rate(node), Camera(node, *size, options.camera_rate)
    received = []
    node.create_subscription(
        PromptedMaskArray, "/rmpsam/prompted_masks", lambda _: received.append(1), 10
    )
    clients = {
        name: node.create_client(kind, f"/rmpsam/{name}") for name, kind in SERVICES.items()
    }
    camera.start()
    rate.newest()
    # Everything that is made at the first use is made before memory is compared.
    end = time.monotonic() + options.warm_up
    everything = options.everything

    def attack(end):
        threads = [
            Client(clients, camera, seed, end, options.pause, size, everything)
            for seed in range(options.clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(options.seconds + PATIENCE + 10.0)
        return threads

    attack(end)
    clear(clients)
    time.sleep(options.quiet)
    before = usage(process.pid)
    alone = rate.over(lambda: time.sleep(options.seconds / 2))
    threads = []
    received.clear()
    attacked = rate.over(lambda: threads.extend(attack(time.monotonic() + options.seconds)))
    masks = len(received)
    clear(clients)
    time.sleep(options.quiet)
    after = usage(process.pid)
    alone_again = rate.over(lambda: time.sleep(options.seconds / 2))
    waits = sorted(wait for thread in threads for wait in thread.waits)
    codes = sum((thread.codes for thread in threads), Counter())
    names = {getattr(AddPrompt.Response, one): one for one in CODES} | {7: "NOT_FOUND"}
    return {
        "clients": options.clients,
        "seconds": options.seconds,
        "engine": options.engine,
        "requests": len(waits),
        "answers": {names[code]: number for code, number in sorted(codes.items())},
        "unanswered": sum(thread.unanswered for thread in threads),
        "seconds_to_answer": {
            "median": round(waits[len(waits) // 2], 3),
            "p95": round(waits[int(len(waits) * 0.95)], 3),
            "max": round(waits[-1], 3),
        },
        "prompted_mask_messages": masks,
        "frame_rate": {
            "without": round(alone, 2),
            "with": round(attacked, 2),
            "without again": round(alone_again, 2),
        },
        "before": before,
        "after": after,
        "alive": process.poll() is None,
    }


CODES = (
    "OK",
    "INVALID_REQUEST",
    "NO_FRAME",
    "FRAME_NOT_KEPT",
    "TOO_MANY_PROMPTS",
    "BUSY",
    "NOT_ACTIVE",
    "INTERNAL_ERROR",
)


def clear(clients):
    done = threading.Event()
    clients["clear_prompts"].call_async(ClearPrompts.Request()).add_done_callback(
        lambda _: done.set()
    )
    done.wait(PATIENCE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=10.0)
    parser.add_argument("--quiet", type=float, default=QUIET)
    parser.add_argument("--pause", type=float, default=0.5, help="mean, between two requests")
    parser.add_argument("--everything", type=int, default=2, help="weight of segment_everything")
    parser.add_argument("--engine", default="mobile_sam")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--camera-rate", type=float, default=10.0)
    parser.add_argument("--network-side", type=int, default=320)
    parser.add_argument("--set", action="append", default=[], help="further name:=value")
    options = parser.parse_args()
    parameters = {
        "prompt_engine": options.engine,
        "long_side": options.network_side,
        "short_side": options.network_side,
        **dict(one.split(":=") for one in options.set),
    }
    rclpy.init()
    node = rclpy.create_node("prompt_storm")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    with running_node(parameters) as process:
        figures = storm(options, process, node)
    print(json.dumps(figures, indent=2))
    sys.stdout.flush()
    os._exit(0 if figures["alive"] and not figures["unanswered"] else 1)


if __name__ == "__main__":
    main()
