"""One camera of the perception node: subscribed to only while a browser looks at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from rmpsam_ros.console.frames import FrameStore
from rmpsam_ros.msg import (
    InstanceTrackArray,
    Latency,
    PanopticSegmentation,
    PromptedMaskArray,
    TrackPositionArray,
)
from rmpsam_ros.node import qos

IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}


class CameraFeed:
    """Subscribes to the images and results of one camera and joins them.

    Everything but the attributes belongs to the thread of the executor: subscriptions come and go
    there, because taking one down while the executor waits for it is not safe everywhere.

    Args:
        prefix: where the camera's results are, for example ``/rmpsam`` or ``/rmpsam/front``.
        on_frame: called in that thread for every new frame.
        on_prompted: called there for every message of prompted masks.

    Attributes:
        store: images and results.
        looking: how many browsers look at the camera.
        source: topic and type name of the images, empty while they are unknown.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        on_frame: Callable[[], None],
        on_prompted: Callable[[Any], None],
    ) -> None:
        self._node = node
        self._on_frame, self._on_prompted = on_frame, on_prompted
        self.prefix = prefix
        self.store = FrameStore()
        self.looking = 0
        self.source = ("", "")
        self._subscribed_source = ("", "")
        self._results: list[Subscription] = []
        self._images: Subscription | None = None

    def update(self) -> None:
        """Subscribe to what is wanted now, and to nothing else; in the executor's thread."""
        if not self.looking:
            self._unsubscribe()
            return
        if not self._results:
            self._results = self._subscribe_results()
        if self.source != self._subscribed_source:
            self._drop_images()
            self._images = self._subscribe_images()
            self._subscribed_source = self.source

    def _subscribe_results(self) -> list[Subscription]:
        store = self.store

        def subscribe(kind: type[Any], name: str, callback: Callable[[Any], None]) -> Subscription:
            return self._node.create_subscription(
                kind, f"{self.prefix}/{name}", callback, qos.result()
            )

        return [
            subscribe(PanopticSegmentation, "panoptic", self._taker("panoptic")),
            subscribe(InstanceTrackArray, "tracks", self._taker("tracks")),
            subscribe(PromptedMaskArray, "prompted_masks", self._take_prompted),
            subscribe(TrackPositionArray, "positions", store.put_positions),
            subscribe(Latency, "latency", store.put_latency),
        ]

    def _taker(self, name: str) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            if self.store.put_result(name, message):
                self._on_frame()

        return take

    def _take_prompted(self, message: Any) -> None:
        self.store.put_prompted(message)
        self._on_prompted(message)

    def _take_image(self, message: Any) -> None:
        if self.store.put_image(message):
            self._on_frame()

    def _subscribe_images(self) -> Subscription | None:
        topic, type_name = self.source
        kind = IMAGE_TYPES.get(type_name)
        if not topic or kind is None:
            return None
        return self._node.create_subscription(kind, topic, self._take_image, qos.image_input())

    def _unsubscribe(self) -> None:
        for result in self._results:
            self._node.destroy_subscription(result)
        self._results = []
        self._drop_images()
        self._subscribed_source = ("", "")
        self.store.clear()

    def _drop_images(self) -> None:
        if self._images is not None:
            self._node.destroy_subscription(self._images)
            self._images = None
