"""A ROS node that listens to everything the perception node says and keeps what the demo shows."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import Image
from video import encode

from rmpsam_ros.msg import InstanceTrackArray, Latency, PanopticSegmentation, PromptPoint
from rmpsam_ros.segmentation.interior import deepest_point
from rmpsam_ros.segmentation.run_length import decode_mask, mask_of_message
from rmpsam_ros.srv import AddPrompt

FRAMES_BEFORE_CLICKS = 5  # the first tracks are confirmed by then
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
    """Writes overlay images into a video in which time passes as it did for the camera.

    It is encoded at the end, in a format that every browser plays: doing so meanwhile would take
    the time of the network.

    Args:
        video: what it becomes, without suffix: see `video.encode`.

    Attributes:
        path: of the video, when it has been encoded.
    """

    def __init__(self, video: Path, still: Path, rate: float) -> None:
        self.path, self._still, self._rate = video, still, rate
        self._video = video.with_name(f".{video.stem}.partial.mp4")
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
        """Encode what was written."""
        if self._writer is None:
            return
        self._writer.release()
        self.path = encode(self._video, self.path, self._rate)
        self._video.unlink()


class Recorder(Node):
    """Subscribes to the results of ``/rmpsam`` and counts and keeps them.

    Args:
        overlay: writes the overlay; None: nobody wants it.
        clicks: on how many people to click, to have them followed.
    """

    def __init__(self, overlay: OverlayWriter | None, clicks: int = 0) -> None:
        super().__init__("demo_recorder")
        self.figures = Figures()
        self._clicks = clicks
        self._prompts = self.create_client(AddPrompt, "/rmpsam/add_prompt")
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
        if self._clicks and len(self.figures.latencies) >= FRAMES_BEFORE_CLICKS:
            self._click(message)

    def _click(self, message: InstanceTrackArray) -> None:
        """Click on the largest people of an image, as a person would, to have them followed."""
        people = [track for track in message.tracks if track.class_name == "person"]
        masks = [decode_mask(mask_of_message(track.mask)) for track in people]
        for mask in sorted(masks, key=np.count_nonzero, reverse=True)[: self._clicks]:
            place = deepest_point(mask)
            if place is None:
                continue
            x, y = place
            point = PromptPoint(x=float(x), y=float(y), label=PromptPoint.FOREGROUND)
            request = AddPrompt.Request(stamp=message.header.stamp, points=[point], track=True)
            self._prompts.call_async(request).add_done_callback(self._on_answer)
            print(f"  click at ({x}, {y}): followed from now on", flush=True)
            self._clicks -= 1

    def _on_answer(self, future: Future) -> None:
        answer = future.result()
        if answer.code != answer.OK:
            print(f"  click not answered: {answer.message}", flush=True)

    def _on_panoptic(self, message: PanopticSegmentation) -> None:
        self.figures.segments += len(message.segments)


def _seconds(stamp: object) -> float:
    return stamp.sec + stamp.nanosec * 1e-9  # type: ignore[attr-defined]
