"""A ROS node that listens to everything the perception node says and keeps what the demo shows."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from rmpsam_ros.msg import InstanceTrackArray, Latency, PanopticSegmentation

STAGES = ("wait", "decode", "preprocess", "inference", "postprocess", "fill", "publish", "total")


@dataclass
class Figures:
    """What the runs leave for the table; times in milliseconds, one entry per frame."""

    latencies: list[dict[str, float]] = field(default_factory=list)
    received: int = 0
    processed: int = 0
    dropped: int = 0
    failed: int = 0
    first_stamp: float = 0.0
    last_stamp: float = 0.0
    track_ids: set[int] = field(default_factory=set)
    segments: int = 0


class OverlayWriter:
    """Writes overlay images into a video in which time passes as it did for the camera."""

    def __init__(self, video: Path, still: Path, rate: float) -> None:
        self._video, self._still, self._rate = video, still, rate
        self._writer: cv2.VideoWriter | None = None
        self._first_stamp = 0.0
        self._written = 0
        self.frames = 0

    def write(self, message: Image) -> None:
        """Append one overlay; frames that the node dropped are filled with the one before."""
        rgb = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        stamp = _seconds(message.header.stamp)
        if self._writer is None:
            self._writer = cv2.VideoWriter(
                str(self._video),
                cv2.VideoWriter.fourcc(*"mp4v"),
                self._rate,
                (message.width, message.height),
            )
            self._first_stamp = stamp
        due = round((stamp - self._first_stamp) * self._rate) + 1
        for _ in range(max(1, due - self._written)):
            self._writer.write(bgr)
            self._written += 1
        self.frames += 1
        cv2.imwrite(str(self._still), bgr)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


class Recorder(Node):
    """Subscribes to the results of ``/rmpsam`` and counts and keeps them."""

    def __init__(self, overlay: OverlayWriter | None) -> None:
        super().__init__("demo_recorder")
        self.figures = Figures()
        self._overlay = overlay
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        subscribe = self.create_subscription
        subscribe(Latency, "/rmpsam/latency", self._on_latency, reliable)
        subscribe(InstanceTrackArray, "/rmpsam/tracks", self._on_tracks, reliable)
        subscribe(PanopticSegmentation, "/rmpsam/panoptic", self._on_panoptic, reliable)
        # Subscribed so that the node has to make and send them: their cost belongs in the table.
        subscribe(Image, "/rmpsam/panoptic/semantic", lambda message: None, reliable)
        subscribe(Image, "/rmpsam/panoptic/instance", lambda message: None, reliable)
        if overlay is not None:
            subscribe(Image, "/rmpsam/overlay", overlay.write, reliable)

    def _on_latency(self, message: Latency) -> None:
        figures = self.figures
        stamp = _seconds(message.header.stamp)
        figures.first_stamp = figures.first_stamp or stamp
        figures.last_stamp = stamp
        figures.latencies.append({name: getattr(message, f"{name}_ms") for name in STAGES})
        figures.received = message.frames_received
        figures.processed = message.frames_processed
        figures.dropped = message.frames_dropped
        figures.failed = message.frames_failed

    def _on_tracks(self, message: InstanceTrackArray) -> None:
        self.figures.track_ids.update(
            track.id for track in message.tracks if track.state == track.CONFIRMED
        )

    def _on_panoptic(self, message: PanopticSegmentation) -> None:
        self.figures.segments += len(message.segments)


def _seconds(stamp: object) -> float:
    return stamp.sec + stamp.nanosec * 1e-9  # type: ignore[attr-defined]
