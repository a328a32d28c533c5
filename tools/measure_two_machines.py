"""What images and results cost between two machines: bytes on the wire, and milliseconds.

    python tools/measure_two_machines.py demo/footage/pedestrians.mp4

The two machines are two sets of namespaces of this one, joined by a virtual cable: nodes in them
find each other and talk as over Ethernet, only that nothing is lost and both have one clock.
Needs root, `ip`, `unshare` and `nsenter`, and the built package (tools/ros_env.sh).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOPICS = {
    "tracks": "InstanceTrackArray",
    "panoptic": "PanopticSegmentation",
    "panoptic/semantic": "Image",
    "panoptic/instance": "Image",
    "overlay": "Image",
}
START_UP, SETTLE = 60.0, 2.0  # seconds


class Machine:
    """Namespaces that stand for a machine: its own network and its own /dev/shm.

    (With one /dev/shm for both, Fast DDS takes them for one machine.)
    """

    def __init__(self, device: str) -> None:
        self.device = device
        keep = (
            "mount -t tmpfs shm /dev/shm && ip link set lo up && echo ready && exec sleep infinity"
        )
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", keep], stdout=subprocess.PIPE
        )
        assert self._keeper.stdout is not None
        if not self._keeper.stdout.readline():
            raise RuntimeError("namespaces cannot be made here: are you root?")

    @property
    def number(self) -> str:
        """The process that keeps the namespaces."""
        return str(self._keeper.pid)

    def command(self, *words: str) -> list[str]:
        """Return what runs a program on this machine."""
        return ["nsenter", "--target", self.number, "--net", "--mount", "--", *words]

    def close(self) -> None:
        """End it; the cable goes with it."""
        self._keeper.kill()
        self._keeper.wait()


@contextlib.contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Have two machines with a cable between them."""
    with contextlib.ExitStack() as machines:
        both = []
        for device in ("rmpsam0", "rmpsam1"):
            both.append(Machine(device))
            machines.callback(both[-1].close)
        one, other = both
        cable = f"ip link add {one.device} netns {one.number} type veth"
        cable += f" peer name {other.device} netns {other.number}"
        subprocess.run(cable.split(), check=True)
        for last, machine in enumerate(both, start=1):
            for words in (f"addr add 10.77.0.{last}/24 dev", "link set up dev"):
                command = machine.command("ip", *words.split(), machine.device)
                subprocess.run(command, check=True)
        yield one, other


@contextlib.contextmanager
def program(machine: Machine, executable: str, *arguments: str) -> Iterator[None]:
    """Have a program of the package run on a machine."""
    path = Path(os.environ["RMPSAM_INSTALL"]) / "lib" / "rmpsam_ros" / executable
    command = machine.command(sys.executable, str(path), "--ros-args", *arguments)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def measure(machine: Machine, topic: str, seconds: float) -> dict[str, float]:
    """Have a process on a machine listen to a topic, and return what it found."""
    options = ("--listen", topic, "--device", machine.device, "--seconds", str(seconds))
    command = machine.command(sys.executable, __file__, *options)
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


def listen(topic: str, device: str, seconds: float) -> dict[str, float]:
    """Subscribe to a topic and to ~/latency; return kB each way, counts, and milliseconds.

    The milliseconds are those between camera and listener that the node did not spend.
    """
    import rclpy
    import sensor_msgs.msg

    import rmpsam_ros.msg

    rclpy.init()
    node = rclpy.create_node("listener")
    arrived: dict[int, int] = {}
    latencies: dict[int, Any] = {}

    def stamp_of(message: Any) -> int:
        return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)

    def spin(limit: float) -> None:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.05)

    module = sensor_msgs.msg if TOPICS[topic] == "Image" else rmpsam_ros.msg
    node.create_subscription(
        getattr(module, TOPICS[topic]),
        f"/rmpsam/{topic}",
        lambda message: arrived.setdefault(stamp_of(message), time.time_ns()),
        5,
    )
    node.create_subscription(
        rmpsam_ros.msg.Latency,
        "/rmpsam/latency",
        lambda message: latencies.setdefault(stamp_of(message), message),
        5,
    )
    end = time.monotonic() + START_UP
    while len(arrived) < 3 and time.monotonic() < end:
        spin(0.5)
    spin(SETTLE)
    arrived.clear()
    latencies.clear()
    before, received = traffic(device), None
    spin(seconds)
    after, counts = traffic(device), [one.frames_received for one in latencies.values()]
    received = max(counts) - min(counts) if counts else 0
    both = arrived.keys() & latencies.keys()
    delays = [(arrived[k] - k) * 1e-6 - latencies[k].total_ms for k in both]
    return {
        "results": len(arrived),
        "images": received,
        "in": (after[0] - before[0]) * 1e-3,
        "out": (after[1] - before[1]) * 1e-3,
        "delay": statistics.median(delays) if delays else float("nan"),
    }


def traffic(device: str) -> tuple[int, int]:
    """Return the bytes that a device has received and sent."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == device:
            fields = numbers.split()
            return int(fields[0]), int(fields[8])
    raise RuntimeError(f"there is no network device {device}")


def compare(
    machines: tuple[Machine, Machine],
    source: str,
    rate: float,
    seconds: float,
    parameters: list[str],
) -> None:
    """Print what each topic costs with the node at the camera, and what images cost without."""
    robot, desk = machines
    options = [word for one in parameters for word in ("-p", one)]
    camera = ["-p", f"source:={source}", "-p", f"rate:={rate}", "-r", "image:=/camera/image_raw"]
    images = ["-r", "image:=/camera/image_raw"]
    print("| node | topic | images | kB an image there | kB a result back | ms on the way |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    with (
        program(robot, "camera_source", *camera),
        program(robot, "rmpsam_node", *images, *options),
    ):
        for topic in TOPICS:
            row = measure(desk, topic, seconds)
            size = row["in"] / max(row["results"], 1)
            print(f"| robot | {topic} | at the node | 0 | {size:.1f} | {row['delay']:.1f} |")
    for transport, encoding in (("raw", "rgb8"), ("compressed", "jpeg")):
        sent = [*camera, "-p", f"encoding:={encoding}"]
        taken = [*images, "-p", f"image_transport:={transport}", *options]
        with program(robot, "camera_source", *sent), program(desk, "rmpsam_node", *taken):
            row = measure(robot, "tracks", seconds)
        there, back = row["out"] / max(row["images"], 1), row["in"] / max(row["results"], 1)
        print(f"| desk | tracks | {encoding} | {there:.1f} | {back:.1f} | {row['delay']:.1f} |")


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", help="video or folder of images")
    parser.add_argument("--rate", type=float, default=2.0, help="images per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="for every row")
    parser.add_argument("--set", action="append", default=[], metavar="NAME:=VALUE")
    parser.add_argument("--listen", choices=TOPICS, help=argparse.SUPPRESS)
    parser.add_argument("--device", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        print(json.dumps(listen(arguments.listen, arguments.device, arguments.seconds)))
        return 0
    if not arguments.source or os.geteuid():
        parser.error("a source is needed, and to be root")
    # The cable leads nowhere else: discovery may use it.
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
    os.environ["ROS_DOMAIN_ID"] = str(random.randrange(1, 102))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    with two_machines() as machines:
        compare(machines, arguments.source, arguments.rate, arguments.seconds, arguments.set)
    return 0


if __name__ == "__main__":
    sys.exit(main())
