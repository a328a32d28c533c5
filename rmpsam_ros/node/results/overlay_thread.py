"""Draws the overlay beside the inference, never more often than asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rmpsam_ros.node.input.images import Picture
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.threads.frame_slot import FrameSlot

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import FrameResult, Pipeline


@dataclass(frozen=True, slots=True)
class Drawing:
    """One overlay to be drawn."""

    header: Header
    picture: Picture
    result: FrameResult
    pipeline: Pipeline


class OverlayThread:
    """Takes the newest drawing, draws and publishes it, and waits until the next may be drawn.

    Args:
        publisher: of sensor_msgs/Image.
        rate: returns how many overlays per second there may be.
        on_error: called with the reason when a drawing fails.
    """

    def __init__(
        self,
        publisher: Publisher,
        rate: Callable[[], float],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._publisher = publisher
        self._rate = rate
        self._on_error = on_error
        self._work = threading.Condition()
        self._closing = False
        self._message = Image()
        self.slot: FrameSlot[Drawing] = FrameSlot(self._work)
        self._thread = threading.Thread(target=self._run, name="overlay", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """End the thread."""
        with self._work:
            self._closing = True
            self._work.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._closing or self.slot)
                drawing = self.slot.take()
            if self._closing or drawing is None:
                return
            started = time.monotonic()
            try:
                self._draw(drawing)
            except Exception as error:
                self._on_error(error)
            del drawing  # an image and a pipeline, which may be closed meanwhile
            with self._work:
                rest = started + 1.0 / self._rate() - time.monotonic()
                self._work.wait_for(lambda: self._closing, max(rest, 0.0))

    def _draw(self, drawing: Drawing) -> None:
        pixels = drawing.picture.pixels
        if drawing.picture.channel_order == "bgr":
            pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
        overlay = drawing.pipeline.overlay(pixels, drawing.result)
        MESSAGES.fill_image(self._message, drawing.header, overlay, "rgb8")
        self._publisher.publish(self._message)
