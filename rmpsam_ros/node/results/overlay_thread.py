"""Draws the overlay beside the inference, never more often than asked."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.results import borrowing
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.results.processed_frame import ProcessedFrame
from rmpsam_ros.node.threads.frame_slot import FrameSlot
from rmpsam_ros.node.threads.worker import Worker


class OverlayThread(Worker):
    """Draws and publishes the newest frame, and waits until the next may be drawn.

    Args:
        publisher: of sensor_msgs/Image.
        settings: with ``overlay_rate``.
        on_error: called with the reason when a drawing fails.
    """

    def __init__(
        self,
        publisher: Publisher,
        settings: LiveSettings,
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__("overlay")
        self._publisher = publisher
        self._settings = settings
        self._on_error = on_error
        self._message = Image()
        self.slot: FrameSlot[ProcessedFrame] = FrameSlot(self._work)
        self._start()

    def _run(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._closing or self.slot)
                frame = self.slot.take()
            if self._closing or frame is None:
                return
            started = time.monotonic()
            try:
                self._draw(frame)
            except Exception as error:
                self._on_error(error)
            del frame  # an image and a pipeline, which may be closed meanwhile
            with self._work:
                rest = started + 1.0 / self._settings.current.overlay_rate - time.monotonic()
                self._work.wait_for(lambda: self._closing, max(rest, 0.0))

    def _draw(self, frame: ProcessedFrame) -> None:
        pixels = frame.image.pixels
        if frame.image.channel_order == "bgr":
            pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
        overlay = frame.pipeline.overlay(pixels, frame.result)
        MESSAGES.fill_image(self._message, frame.header, overlay, "rgb8")
        borrowing.publish(self._publisher, self._message)
