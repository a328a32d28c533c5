"""Saves a picture of every confirmed track, without its background: a consumer of ~/tracks.

    python3 track_cropper.py --ros-args -r image:=/camera/image_raw -r tracks:=/rmpsam/tracks \
        -p folder:=crops

The pictures are crops/<id>_<class>/<stamp>.png, of each track one every `period` seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from rmpsam_ros.messages import box, decode, pixels
from rmpsam_ros.msg import InstanceTrack, InstanceTrackArray

KEPT = 60  # images that wait for their results


class TrackCropper(Node):
    """Keeps the newest images until the tracks with exactly their stamp have come."""

    def __init__(self) -> None:
        super().__init__("track_cropper")
        self._folder = Path(self.declare_parameter("folder", "crops").value)
        self._period = self.declare_parameter("period", 1.0).value
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._saved: dict[int, int] = {}  # stamp of the newest picture by track
        self.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)
        self.create_subscription(InstanceTrackArray, "tracks", self._on_tracks, 5)

    def _on_image(self, image: Image) -> None:
        self._images[nanoseconds(image.header.stamp)] = image
        while len(self._images) > KEPT:
            self._images.popitem(last=False)

    def _on_tracks(self, message: InstanceTrackArray) -> None:
        stamp = nanoseconds(message.header.stamp)
        image = self._images.get(stamp)
        if image is None:
            return  # lost on its way to here
        for track in message.tracks:
            due = abs(stamp - self._saved.get(track.id, 0)) >= self._period * 1e9
            if track.state == InstanceTrack.CONFIRMED and due:
                self._saved[track.id] = stamp
                self._save(track, image, stamp)

    def _save(self, track: InstanceTrack, image: Image, stamp: int) -> None:
        try:
            colors, mask, place = pixels(image), decode(track), box(track)
        except ValueError as error:
            self.get_logger().warning(f"not saved: {error}", throttle_duration_sec=5.0)
            return
        if place is None or colors.ndim != 3 or colors.shape[:2] != mask.shape:
            return
        x_min, y_min, x_max, y_max = place
        crop = colors[y_min:y_max, x_min:x_max]
        if image.encoding == "rgb8":  # OpenCV writes blue first
            crop = crop[:, :, ::-1]
        opacity = mask[y_min:y_max, x_min:x_max, None] * np.uint8(255)
        path = self._folder / f"{track.id}_{track.class_name.replace(' ', '_')}" / f"{stamp}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.concatenate([crop, opacity], axis=2))
        self.get_logger().info(f"saved {path}")


def nanoseconds(stamp) -> int:
    """Return a stamp as one number, exact as no float is."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def main() -> None:
    """Run until SIGINT."""
    rclpy.init()
    try:
        rclpy.spin(TrackCropper())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == "__main__":
    main()
