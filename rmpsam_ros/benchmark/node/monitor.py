"""Arrivals of the node's results, with their times."""

from __future__ import annotations

import struct
import threading
import time
from functools import partial

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import HistoryPolicy, QoSProfile
from sensor_msgs.msg import Image

from rmpsam_ros.msg import InstanceTrackArray, Latency, PanopticSegmentation
from rmpsam_ros.node.input.frame_headers import nanoseconds

RESULTS = {
    "panoptic": PanopticSegmentation,
    "tracks": InstanceTrackArray,
    "panoptic/semantic": Image,
    "panoptic/instance": Image,
}
QUIET = 3.0  # seconds without a result after which none is expected
# Nothing that was published may be lost here.
KEEP_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL, depth=1)


class Monitor:
    """Subscribes to the results of a node and notes when they arrive.

    The results are not read beyond their stamps, so that the measuring takes little time itself.

    Attributes:
        latencies: of all frames so far.
        network: what the node says about its network.
    """

    def __init__(self, node_name: str) -> None:
        self._node = rclpy.create_node("benchmark_monitor")
        self._arrivals: dict[str, dict[int, int]] = {topic: {} for topic in RESULTS}
        self._status_name = f"{node_name}: network"
        self.latencies: list[Latency] = []
        self.network = ""
        for topic, kind in RESULTS.items():
            self._node.create_subscription(
                kind, f"/{node_name}/{topic}", partial(self._on_result, topic), KEEP_ALL, raw=True
            )
        self._node.create_subscription(
            Latency, f"/{node_name}/latency", self.latencies.append, KEEP_ALL
        )
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take in no more."""
        self._executor.shutdown(5.0)
        self._thread.join(5.0)
        self._node.destroy_node()

    def answers(self, first: int, last: int) -> dict[int, int]:
        """Return when the last result of every frame arrived, by stamp, nanoseconds.

        Frames of which a result is missing are left out.

        Args:
            first, last: stamps of the frames that count.
        """
        wanted = [
            stamp
            for stamp in list(self._arrivals["panoptic"])
            if first <= stamp <= last
            and all(stamp in arrival for arrival in self._arrivals.values())
        ]
        return {
            stamp: max(arrival[stamp] for arrival in self._arrivals.values()) for stamp in wanted
        }

    def wait_for_answers(self, first: int, last: int, number: int) -> None:
        """Wait until so many frames are answered, or nothing has arrived for a while.

        Args:
            first, last: stamps of the frames that count.
        """
        count, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET:
            # The node tells the latency of a frame after its results.
            told = sum(within(latency, first, last) for latency in list(self.latencies))
            now = len(self.answers(first, last)) + told
            if now == 2 * number:
                return
            if now != count:
                count, since = now, time.monotonic()
            time.sleep(0.05)

    def forget(self) -> None:
        """Drop what has arrived so far."""
        self.latencies.clear()
        for arrivals in self._arrivals.values():
            arrivals.clear()

    def _on_result(self, topic: str, data: bytes) -> None:
        self._arrivals[topic][stamp_of(data)] = time.time_ns()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._status_name:
                self.network = status.message


def stamp_of(data: bytes) -> int:
    """Return the stamp of a serialized message that begins with a header, nanoseconds."""
    # Four bytes of encapsulation, whose second one tells the byte order, then seconds and rest.
    order = "<" if data[1] & 1 else ">"
    seconds, rest = struct.unpack_from(f"{order}iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(rest)


def within(latency: Latency, first: int, last: int) -> bool:
    """Tell whether a frame is one of those with stamps from first to last."""
    return first <= nanoseconds(latency.header.stamp) <= last
