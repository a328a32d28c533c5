"""Leaves the node running for a long time with everything going wrong that can, and counts.

    python tests/tools/soak.py [--seconds 1800] [--rate 30] [--cameras front,rear] ...

in an environment where the installed package is found. Starts the node as a process and sends it
images of changing sizes and encodings; meanwhile images are malformed, publishers vanish and come
again, subscribers and publishers do not fit, parameters change well and badly, prompts are made
well and badly, and time jumps. At half time and at the end the node is given `REST` seconds of
small images in peace, before its memory is read. Prints one JSON object. Status 1 if

- the node ended, did not end when it was told to, or logged an exception;
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
from array import array
from collections import Counter
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as implementation
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from soak_memory import judge_memory

from rmpsam_ros.msg import InstanceTrackArray, Latency, PromptPoint
from rmpsam_ros.node.process import use_large_shared_memory
from rmpsam_ros.srv import AddPrompt, ClearPrompts, ListPrompts, RemovePrompt, SegmentEverything

SIZES = ((640, 480), (320, 240), (98, 32), (640, 360), (1280, 720), (64, 64))
# Bytes for 2 pixels in all.
ENCODINGS = {"rgb8": 6, "bgr8": 6, "rgba8": 8, "mono8": 2, "mono16": 4, "bayer_rggb8": 2}
ENCODINGS |= {"yuv422": 4, "yuv422_yuy2": 4, "nv12": 3}
CHANGE_EVERY = 2.0  # seconds after which size and encoding change
BAD_SHARE = 0.05  # of the images
FAULT_EVERY = 0.7  # seconds
AT_THE_ENDS = 5  # images that may vanish unseen at the two ends of a publisher
REST = 10.0  # seconds, above keep_seconds: kept are small images only
PATIENCE = 120.0  # seconds until a request counts as unanswered
LIVE = {"score_threshold": (0.05, 0.9), "overlap_threshold": (0.0, 0.9), "overlay_rate": (0.5, 30)}


class Camera(threading.Thread):
    """Publishes images until it is told to stop."""

    def __init__(self, node, name, rate, seed):
        super().__init__(daemon=True)
        self._node, self._rate, self._random = node, rate, random.Random(seed)
        self.name, self.prefix = name, f"{name}/" if name else ""
        self.topic = f"/{self.prefix}image"
        self.stop, self.restart = threading.Event(), threading.Event()
        self.peace = threading.Event()
        self.sent, self.bad, self.publishers, self.jump = 0, 0, 0, 0.0
        self.latencies: list[Latency] = []
        node.create_subscription(
            Latency, f"/rmpsam/{self.prefix}latency", self._on_latency, QoSProfile(depth=100)
        )
        self.connect()

    def _on_latency(self, message):
        self.latencies = [*self.latencies[-5:], message]

    def connect(self):
        """Make a publisher, and wait until the node hears it."""
        self._publisher = self._node.create_publisher(Image, self.topic, 2)
        self.publishers += 1
        while not self._publisher.get_subscription_count() and not self.stop.is_set():
            time.sleep(0.02)
        time.sleep(0.2)

    def run(self):
        due = change = time.monotonic()
        image = None
        while not self.stop.is_set():
            if self.restart.is_set():
                self.restart.clear()
                self._node.destroy_publisher(self._publisher)
                self.connect()
                due = time.monotonic()
            peace = self.peace.is_set()
            if image is None or peace or time.monotonic() > change:
                image = make_image(64, 48, "rgb8") if peace else self._image()
                change = time.monotonic() + (0.0 if peace else CHANGE_EVERY)
            bad = not peace and self._random.random() < BAD_SHARE
            self.send(self._spoil(image) if bad else image)
            self.bad += bad
            due += 1.0 / self._rate
            time.sleep(max(due - time.monotonic(), 0.0))

    def send(self, image):
        """Publish and count; the stamp is that of the moment, as far as time has jumped."""
        now = self._node.get_clock().now().nanoseconds + int(self.jump * 1e9)
        image.header.stamp.sec, image.header.stamp.nanosec = divmod(now, 1_000_000_000)
        self._publisher.publish(image)
        self.sent += 1

    def last_counts(self):
        """Send good images until one is answered when all before are done; its Latency."""
        image = make_image(64, 48, "rgb8")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(1.0)
            self.send(image)
            wait = time.monotonic() + 5.0
            while time.monotonic() < wait:
                if self.latencies and self.latencies[-1].header == image.header:
                    return self.latencies[-1]
                time.sleep(0.02)
        return None

    def _image(self):
        width, height = self._random.choice(SIZES)
        return make_image(width, height, self._random.choice(list(ENCODINGS)))

    def _spoil(self, image):
        spoilt = Image(header=image.header, height=image.height, width=image.width)
        spoilt.encoding, spoilt.step, spoilt.data = image.encoding, image.step, image.data
        kind = self._random.randrange(6)
        if kind == 0:
            spoilt.encoding = "nonsense"
        elif kind == 1:
            spoilt.step = 0
        elif kind == 2:
            spoilt.data = image.data[: len(image.data) // 2]
        elif kind == 3:
            spoilt.height = spoilt.width = 0
        elif kind == 4:
            spoilt.height = spoilt.width = 100_000
        else:
            spoilt.data = array("B")
        return spoilt


def make_image(width, height, encoding):
    size = width * height * ENCODINGS[encoding] // 2
    rows = height * 3 // 2 if encoding == "nv12" else height
    image = Image(height=height, width=width, encoding=encoding, step=size // rows)
    image.header.frame_id = "soak"
    image.data = array("B", random.randbytes(size))
    return image


class Faults(threading.Thread):
    """Does something unpleasant again and again."""

    def __init__(self, node, cameras, seed):
        super().__init__(daemon=True)
        self._node, self._cameras, self._random = node, cameras, random.Random(seed)
        self.stop, self.turn = threading.Event(), threading.Lock()
        self.done, self.unanswered, self.finished = Counter(), 0, False
        self._misfits: list = []
        self._parameters = node.create_client(SetParameters, "/rmpsam/set_parameters")
        self._clients = {
            (camera.name, kind): node.create_client(kind, f"/rmpsam/{camera.prefix}{name}")
            for camera in cameras
            for name, kind in (
                ("add_prompt", AddPrompt),
                ("remove_prompt", RemovePrompt),
                ("list_prompts", ListPrompts),
                ("clear_prompts", ClearPrompts),
                ("segment_everything", SegmentEverything),
            )
        }

    def run(self):
        faults = (
            self.publisher_restart,
            self.misfit,
            self.parameter,
            self.parameter,
            self.prompt,
            self.prompt,
            self.prompt,
            self.time_jump,
        )
        while not self.stop.wait(self._random.uniform(0.0, 2.0 * FAULT_EVERY)):
            fault = self._random.choice(faults)
            with self.turn:
                fault(self._random.choice(self._cameras))
            self.done[fault.__name__] += 1
        self.finished = True

    def clear_prompts(self):
        for camera in self._cameras:
            self._ask(self._clients[camera.name, ClearPrompts], ClearPrompts.Request())

    def publisher_restart(self, camera):
        camera.restart.set()

    def time_jump(self, camera):
        camera.jump += self._random.choice([-1000.0, -1.0, -0.1, 1.0, 1000.0])

    def misfit(self, camera):
        """Add an end that does not fit to an input or result, and take an old one away."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        fast = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        tracks = f"/rmpsam/{camera.prefix}tracks"
        node, ignore = self._node, (lambda message: None)
        self._misfits.append(
            self._random.choice(
                [
                    lambda: node.create_subscription(InstanceTrackArray, tracks, ignore, latched),
                    lambda: node.create_subscription(InstanceTrackArray, tracks, ignore, fast),
                    lambda: node.create_publisher(Image, camera.topic, latched),
                ]
            )()
        )
        if len(self._misfits) > 3:
            old = self._misfits.pop(0)
            destroy = node.destroy_publisher if hasattr(old, "publish") else None
            (destroy or node.destroy_subscription)(old)

    def parameter(self, camera):
        name = self._random.choice([*LIVE, "classes", "nonsense", "model", "cameras"])
        if name in LIVE:
            value = self._random.choice([self._random.uniform(*LIVE[name]), -1.0, "text"])
        else:
            value = self._random.choice(["", "person", "person, car", "no such class", 7])
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        self._ask(self._parameters, request)

    def prompt(self, camera):
        pick = self._random
        kind = pick.choice([AddPrompt] * 5 + [RemovePrompt, ListPrompts, ClearPrompts])
        kind = SegmentEverything if pick.random() < 0.05 else kind
        request = kind.Request()
        if kind is AddPrompt:
            x = pick.choice([pick.uniform(0.0, 60.0), float("nan"), 1e9])
            request.points = [PromptPoint(x=x, y=pick.uniform(0.0, 30.0), label=1)]
            request.object_id, request.track = pick.choice(["", "a", "b"]), pick.random() < 0.5
        if kind is RemovePrompt:
            request.object_id = pick.choice(["a", "b", "nobody"])
        self._ask(self._clients[camera.name, kind], request)

    def _ask(self, client, request):
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(PATIENCE):
            self.unanswered += 1


class NodeUnderTest:
    """The node as a process."""

    def __init__(self, options, log):
        program = Path(__file__).with_name("memory_probe.py")
        self._memory = options.memory or log.with_suffix(".memory")
        self._memory.unlink(missing_ok=True)
        side = options.network_side
        settings = [f"cameras:={options.cameras}"] if options.cameras else []
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
            return int({one.key: one.value for one in status.values}["lost on the way"])
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
            cameras = [Camera(node, name, options.rate, k) for k, name in enumerate(names)]
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
