"""Many clients ask the node at random, well and badly, while images come in.

    python tools/soak/prompt_storm.py [--clients 50] [--seconds 60] [--engine mobile_sam] ...

in an environment where the installed package is found. Starts the node as a process, measures its
frame rate without and with the clients, and its memory, threads and open files before and after.
Says on stderr how long that takes, what it is doing, and a summary; prints one JSON object. Status
1 if a request was not answered or the node ended.

A request counts as unanswered 20 s after ``prompt_timeout``, within which the node has to answer:
so long the phases with clients may take longer than they should.
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
import threading
import time
from array import array
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_prefix
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
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
MARGIN = 20.0  # seconds behind prompt_timeout until a request counts as unanswered
QUIET = 15.0  # seconds of rest before the memory is read
START = 30.0  # seconds that the node may need to load the network: for the forecast only
PATIENCE_AT_START = 300.0  # seconds until a node without a result is given up
# All clients are in one process and hear all answers: a busy moment must not cost the tool any.
OWN_QUEUE = QoSProfile(depth=1000)


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
        start_time = time.monotonic()
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
            # By the clock: the clients, threads of this process, must not slow the camera.
            time.sleep(max(0.0, start_time + step / self._rate - time.monotonic()))


class Client(threading.Thread):
    """Asks for one thing after the other until the end, and notes what it was answered."""

    def __init__(self, clients, camera, seed, end, options):
        super().__init__(daemon=True)
        self._clients, self._camera, self._end = clients, camera, end
        self._pause, self._patience = options.pause, options.patience
        self._random, self._size = random.Random(seed), (options.width, options.height)
        self._weights = WEIGHTS | {"segment_everything": options.everything}
        self.answers, self.unanswered = [], 0  # (code, seconds)

    def run(self):
        while time.monotonic() < self._end:
            time.sleep(self._random.uniform(0.0, 2.0 * self._pause))
            (name,) = self._random.choices(list(self._weights), list(self._weights.values()))
            done, started = threading.Event(), time.monotonic()
            future = self._clients[name].call_async(self._request(name))
            future.add_done_callback(lambda _, done=done: done.set())
            if done.wait(self._patience):
                self.answers.append((future.result().code, time.monotonic() - started))
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

    def __init__(self, node, process):
        self._newest, self._process = None, process
        node.create_subscription(Latency, "/rmpsam/latency", self._note, 10)

    def _note(self, message):
        self._newest = (time.monotonic(), message.frames_processed)

    def newest(self):
        end = time.monotonic() + PATIENCE_AT_START
        while self._newest is None:
            if self._process.poll() is not None:
                raise SystemExit(f"the node ended with status {self._process.returncode}")
            if time.monotonic() > end:
                raise SystemExit(
                    f"the node processed no image in {PATIENCE_AT_START:.0f} s: see its log"
                )
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


class Storm:
    """The node, the clients, and the figures."""

    def __init__(self, options, process, node):
        self.options, self.process = options, process
        self.rate = Rate(node, process)
        self.camera = Camera(node, options.width, options.height, options.camera_rate)
        self.masks = 0
        self.clients = {
            name: node.create_client(kind, f"/rmpsam/{name}", qos_profile=OWN_QUEUE)
            for name, kind in SERVICES.items()
        }
        node.create_subscription(PromptedMaskArray, "/rmpsam/prompted_masks", self._note, 10)

    def _note(self, _):
        self.masks += 1

    def attack(self, seconds):
        """Let all clients ask for some seconds, and return them when the last is answered."""
        end = time.monotonic() + seconds
        threads = [
            Client(self.clients, self.camera, seed, end, self.options)
            for seed in range(self.options.clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return threads

    def rest(self):
        """Remove all prompts, let the node come to rest, and return its memory."""
        done = threading.Event()
        self.clients["clear_prompts"].call_async(ClearPrompts.Request()).add_done_callback(
            lambda _: done.set()
        )
        done.wait(self.options.patience)
        time.sleep(self.options.quiet)
        return usage(self.process.pid)

    def alone(self):
        """Return the frame rate without clients."""
        return self.rate.over(lambda: time.sleep(self.options.seconds / 2))

    def run(self):
        """Run everything and return the figures."""
        options, threads = self.options, []
        say(f"starting the node; all takes about {total(options):.0f} s")
        self.camera.start()
        self.rate.newest()
        # Everything that is made at the first use is made before memory is compared.
        say(f"warming up: {options.clients} clients for {options.warm_up:g} s")
        warming = self.attack(options.warm_up)
        before = self.rest()
        say(f"{summary(warming)}; frame rate without clients, {options.seconds / 2:g} s")
        without = self.alone()
        say(f"{without:.2f} frames/s; {options.clients} clients for {options.seconds:g} s")
        self.masks = 0
        attacked = self.rate.over(lambda: threads.extend(self.attack(options.seconds)))
        masks = self.masks
        say(f"{summary(threads)}; {attacked:.2f} frames/s; rest of {options.quiet:g} s")
        after = self.rest()
        say(f"frame rate without clients again, {options.seconds / 2:g} s")
        again = self.alone()
        return {
            "clients": options.clients,
            "seconds": options.seconds,
            "engine": options.settings.get("prompt_engine", options.engine),
            **answered(threads),
            "unanswered in the warm-up": sum(one.unanswered for one in warming),
            "prompted_mask_messages": masks,
            "frame_rate": {
                "without": round(without, 2),
                "with": round(attacked, 2),
                "without again": round(again, 2),
            },
            "before": before,
            "after": after,
            "alive": self.process.poll() is None,
        }


def answered(threads):
    """Return what all clients were answered, and when."""
    names = {getattr(AddPrompt.Response, one): one for one in CODES} | {7: "NOT_FOUND"}
    answers = [answer for thread in threads for answer in thread.answers]
    by_name = {
        name: sorted(s for code, s in answers if names[code] == name) for name in names.values()
    }
    return {
        "requests": len(answers) + sum(thread.unanswered for thread in threads),
        "unanswered": sum(thread.unanswered for thread in threads),
        "answers": {name: len(waits) for name, waits in by_name.items() if waits},
        "seconds_to_answer": {
            "all": spread(sorted(seconds for _, seconds in answers)),
            **{name: spread(by_name[name]) for name in ("OK", "BUSY") if by_name[name]},
        },
    }


def spread(waits):
    """Return median, 95th percentile and maximum of sorted numbers."""
    if not waits:
        return {}
    median, p95 = waits[len(waits) // 2], waits[int(len(waits) * 0.95)]
    return {"median": round(median, 3), "p95": round(p95, 3), "max": round(waits[-1], 3)}


def summary(threads):
    """Return what the clients were answered in a line."""
    figures = answered(threads)
    codes = ", ".join(f"{number} {name}" for name, number in figures["answers"].items())
    slowest = figures["seconds_to_answer"]["all"].get("max", 0.0)
    return (
        f"{figures['requests']} requests: {codes}; {figures['unanswered']} unanswered; "
        f"the slowest answer took {slowest:.1f} s"
    )


def total(options):
    """Return how many seconds all is to take."""
    return START + options.warm_up + 2 * options.quiet + 2 * options.seconds


STARTED = time.monotonic()


def say(text):
    """Tell what is being done."""
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", file=sys.stderr, flush=True)


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
    options.settings = dict(one.split(":=") for one in options.set)
    options.patience = float(options.settings.get("prompt_timeout", 10.0)) + MARGIN
    parameters = {
        "prompt_engine": options.engine,
        "long_side": options.network_side,
        "short_side": options.network_side,
        **options.settings,
    }
    # Whoever ends the tool ends the node with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("prompt_storm")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    with running_node(parameters) as process:
        figures = Storm(options, process, node).run()
    print(json.dumps(figures, indent=2))
    sys.stdout.flush()
    unanswered = figures["unanswered"] + figures["unanswered in the warm-up"]
    rates = figures["frame_rate"]
    alone = (rates["without"] + rates["without again"]) / 2
    grown = {name: figures["after"][name] - figures["before"][name] for name in figures["after"]}
    say(
        f"{unanswered} of {figures['requests']} requests unanswered; frame rate with clients "
        f"{rates['with'] / alone - 1:+.1%} of that without; grown by {grown['rss_mib']:+.1f} MiB, "
        f"{grown['threads']:+d} threads, {grown['files']:+d} files"
    )
    os._exit(0 if figures["alive"] and not unanswered else 1)


if __name__ == "__main__":
    main()
