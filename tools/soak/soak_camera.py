"""A camera of the soak: images of changing sizes and encodings, some malformed, all counted."""

from __future__ import annotations

import random
import threading
import time
from array import array

from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from rmpsam_ros.msg import Latency

SIZES = ((640, 480), (320, 240), (98, 32), (640, 360), (1280, 720), (64, 64))
# Bytes for 2 pixels in all.
ENCODINGS = {"rgb8": 6, "bgr8": 6, "rgba8": 8, "mono8": 2, "mono16": 4, "bayer_rggb8": 2}
ENCODINGS |= {"yuv422": 4, "yuv422_yuy2": 4, "nv12": 3}
CHANGE_EVERY = 2.0  # seconds after which size and encoding change
BAD_SHARE = 0.05  # of the images
PATIENCE = 120.0  # seconds until the last image counts as unanswered


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
