"""The process that publishes images: made before, sent at the rate it is told to.

Reads one JSON object per line from its standard input, ``{"rate": ..., "seconds": ...}``, and
answers each with one line about what it sent. Ends with its input; a signal ends the playing.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from array import array
from collections.abc import Iterable, Iterator
from itertools import cycle

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from rmpsam_ros.node import qos
from rmpsam_ros.node.input.frame_headers import nanoseconds
from rmpsam_ros.node.process import initialize, wait_for
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.video.frame_sources import open_source

BUFFERED = 24  # images
FRAME_ID = "benchmark"
DISCOVERY_SECONDS = 2.0


def made_up_frames(width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield pictures of soft noise with discs that move: no two are equal."""
    random = np.random.default_rng(0)
    coarse = random.integers(40, 200, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    ground = np.asarray(cv2.resize(coarse, (width, height)), np.uint8)
    discs = random.uniform(0.0, 1.0, (12, 6))
    for step in range(BUFFERED):
        frame = ground.copy()
        for x, y, radius, *color in discs:
            place = (int((x + 0.01 * step) % 1.0 * width), int(y * height))
            size = int((0.03 + 0.08 * radius) * width)
            cv2.circle(frame, place, size, [int(255 * level) for level in color], cv2.FILLED)
        yield frame


def messages(frames: Iterable[NDArray[np.uint8]], width: int, height: int) -> list[Image]:
    """Return the first frames, (h, w, 3) bgr, as messages of one size, without stamps."""
    filled = []
    for frame in frames:
        message = Image()
        message.header.frame_id = FRAME_ID
        resized = np.asarray(cv2.resize(frame, (width, height)), np.uint8)
        MESSAGES.fill_image(message, message.header, resized, "bgr8")
        assert isinstance(message.data, array)
        filled.append(message)
        if len(filled) == BUFFERED:
            break
    return filled


def play(
    node: Node,
    publisher: Publisher,
    images: Iterator[Image],
    rate: float,
    seconds: float,
    stop: threading.Event,
) -> list[int]:
    """Publish at a rate until it is over or `stop` is set; return the stamps, nanoseconds."""
    begin = time.monotonic()
    stamps = []
    for number in range(max(round(rate * seconds), 2)):
        if wait_for(stop, begin + number / rate - time.monotonic()):
            break
        image = next(images)
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)
        stamps.append(nanoseconds(image.header.stamp))
    return stamps


def main() -> None:
    """Publish until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--size", type=int, nargs=2, required=True)
    parser.add_argument("--source", default="")
    options = parser.parse_args()
    stop = initialize([])
    width, height = options.size
    frames: Iterable[NDArray[np.uint8]] = made_up_frames(width, height)
    if options.source:
        frames = open_source(options.source).frames()
    images = cycle(messages(frames, width, height))
    node = rclpy.create_node("benchmark_playback")
    publisher = node.create_publisher(Image, options.topic, qos.result())
    for line in sys.stdin:
        order = json.loads(line)
        end = time.monotonic() + DISCOVERY_SECONDS
        while not publisher.get_subscription_count() and time.monotonic() < end:
            wait_for(stop, 0.05)
        stamps = play(node, publisher, images, order["rate"], order["seconds"], stop)
        if stop.is_set():
            break
        played = {"sent": len(stamps), "first": stamps[0], "last": stamps[-1]}
        print(json.dumps(played), flush=True)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
