"""A camera of the soak: images of changing sizes and encodings, some malformed, all counted."""

from __future__ import annotations

import random
import struct
import threading
import time
from array import array

import cv2
import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from rmpsam_ros.msg import Latency

SIZES = ((640, 480), (320, 240), (98, 32), (640, 360), (1280, 720), (64, 64))
# Bytes for 2 pixels in all.
ENCODINGS = {"rgb8": 6, "bgr8": 6, "rgba8": 8, "mono8": 2, "mono16": 4, "bayer_rggb8": 2}
ENCODINGS |= {"yuv422": 4, "yuv422_yuy2": 4, "nv12": 3}
CHANGE_EVERY = 2.0  # seconds after which size and encoding change
BAD_SHARE = 0.05  # of the images
PATIENCE = 120.0  # seconds until the last image counts as unanswered
FORGED = "rgb8\n[ERROR] [1.0] [rmpsam]: forged line \x1b[31m"
LONG_NAME = "long" * 50_000


class Camera(threading.Thread):
    """Publishes images until it is told to stop."""

    kind: type = Image
    suffix = ""

    def __init__(self, node, name, rate, seed):
        super().__init__(daemon=True)
        self._node, self._rate, self._random = node, rate, random.Random(seed)
        self.name, self.prefix = name, f"{name}/" if name else ""
        self.topic = f"/{self.prefix}image{self.suffix}"
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
        self._publisher = self._node.create_publisher(self.kind, self.topic, 2)
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
                image = self._peaceful() if peace else self._image()
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
        image = self._peaceful()
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

    def _peaceful(self):
        return make_image(64, 48, "rgb8")

    def _image(self):
        width, height = self._random.choice(SIZES)
        return make_image(width, height, self._random.choice(list(ENCODINGS)))

    def _spoil(self, image):
        spoilt = Image(header=image.header, height=image.height, width=image.width)
        spoilt.encoding, spoilt.step, spoilt.data = image.encoding, image.step, image.data
        kind = self._random.randrange(8)
        if kind == 0:
            spoilt.encoding = self._random.choice(["nonsense", FORGED])
        elif kind == 1:
            spoilt.step = 0
        elif kind == 2:
            spoilt.data = image.data[: len(image.data) // 2]
        elif kind == 3:
            spoilt.height = spoilt.width = 0
        elif kind == 4:
            spoilt.height = spoilt.width = 100_000
        elif kind == 5:
            spoilt.data = array("B")
        else:  # a good image, of a camera with a name that nobody should keep thousands of
            spoilt.header = Header(frame_id=self._random.choice([FORGED, LONG_NAME]))
        return spoilt


class CompressedCamera(Camera):
    """The same with JPEG and PNG, some of which are damaged on the way."""

    kind = CompressedImage
    suffix = "/compressed"

    def _peaceful(self):
        return self._encoded(64, 48, ".jpg")

    def _image(self):
        return self._encoded(*self._random.choice(SIZES), self._random.choice([".jpg", ".png"]))

    def _encoded(self, width, height, suffix):
        pixels = np.random.default_rng(self._random.randrange(2**32)).integers(
            0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8
        )
        data = cv2.imencode(suffix, cv2.resize(pixels, (width, height)))[1]
        image = CompressedImage(format="soak", data=array("B", data.tobytes()))
        image.header.frame_id = "soak"
        return image

    def _spoil(self, image):
        spoilt = CompressedImage(header=image.header, format=FORGED)
        data, kind = bytes(image.data), self._random.randrange(6)
        if kind == 0:  # a packet is lost
            start = len(data) // 3
            data = data[:start] + data[start + 1400 :]
        elif kind == 1:
            data = data[: len(data) // 2]
        elif kind == 2:
            data = data[: len(data) // 2] + b"\xff\xd9"
        elif kind == 3:
            data = BOMB
        elif kind == 4:
            place = self._random.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        else:
            data = b""
        spoilt.data = array("B", data)
        return spoilt


def scans(height, width, number):
    """A small JPEG that would take seconds to decode: progressive, with almost empty scans."""
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    table = b"\x00\x01" + bytes(15) + b"\x00"
    first, again = b"\x01\x01\x00\x00\x00\x01", b"\x01\x01\x00\x00\x00\x10"
    segments = [
        (b"\xff\xc2", frame),
        (b"\xff\xc4", table),
        (b"\xff\xdb", b"\x00" + bytes([1] * 64)),
    ]
    data = b"\xff\xd8"
    for marker, content in segments:
        data += marker + struct.pack(">H", len(content) + 2) + content
    for k in range(number):
        data += b"\xff\xda\x00\x08" + (again if k else first) + bytes(40)
    return data + b"\xff\xd9"


BOMB = scans(4320, 7680, 1500)


def make_image(width, height, encoding):
    size = width * height * ENCODINGS[encoding] // 2
    rows = height * 3 // 2 if encoding == "nv12" else height
    image = Image(height=height, width=width, encoding=encoding, step=size // rows)
    image.header.frame_id = "soak"
    image.data = array("B", random.randbytes(size))
    return image
