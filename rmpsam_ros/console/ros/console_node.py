"""The console's node: feeds of the cameras, the perception node's health, its services."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.subscription import Subscription

from rmpsam_ros.console.frames import PATIENCE_ACTIVE, PATIENCE_INACTIVE
from rmpsam_ros.console.ros.calls import Services
from rmpsam_ros.console.ros.camera_feed import CameraFeed
from rmpsam_ros.console.ros.health import Part, camera_sources, mono16_white, parts_of
from rmpsam_ros.console.settings import CONSOLE_PARAMETERS, Settings
from rmpsam_ros.msg import LabelTable
from rmpsam_ros.node import qos
from rmpsam_ros.node.input.images import WHITE_16
from rmpsam_ros.node.parameters.declaration import DeclaredParameters
from rmpsam_ros.segmentation.labels import Label, LabelSet, LabelSetError

MAX_CAMERAS = 16


class ConsoleNode(Node):
    """Listens to one perception node while a browser looks.

    Raises:
        ParameterError: a parameter value given at start is not accepted.

    Attributes:
        settings: the parameters.
        parts: what the perception node last said of itself.
        labels: its label table; None: it has published none.
        mono16_white: value of its mono16 images that is white.
        feeds: its cameras, by name; the only camera of a node has the name "".
        on_frame: called in the loop with the name of a camera that has a new frame.
        on_prompted: called there with a camera's name and its new message of prompted masks.
    """

    def __init__(self) -> None:
        super().__init__("rmpsam_console")
        self.settings = DeclaredParameters(
            self, CONSOLE_PARAMETERS, lambda **values: Settings.from_values(values)
        ).current
        self.target = self.settings.node
        self.parts: list[Part] = []
        self.labels: LabelSet | None = None
        self.mono16_white = WHITE_16
        self.feeds: dict[str, CameraFeed] = {}
        self._executor: Executor | None = None
        self._watching = False
        self._watched: list[Subscription] = []
        self.on_frame: Callable[[str], None] = lambda camera: None
        self.on_prompted: Callable[[str, Any], None] = lambda camera, message: None

    def attach(self, executor: Executor, loop: asyncio.AbstractEventLoop) -> None:
        """Tell what spins this node, and in which loop answers and `on_frame` are awaited."""
        self._executor, self._loop = executor, loop
        self.calls = Services(self, loop, self.target)

    def watch(self, watching: bool) -> None:
        """Begin or stop to listen to what the perception node says of itself."""
        self._watching = watching
        self._later(self._update)

    def look(self, camera: str, browsers: int) -> None:
        """Tell how many browsers look at a camera, one more or one less."""
        feed = self.feeds.get(camera)
        if feed is not None:
            feed.looking += browsers
            self._later(feed.update)

    def forget_parts(self) -> None:
        """Note that the perception node has gone: what it said no longer holds."""
        if self.parts:
            self.parts = []

    def expect_results(self, active: bool) -> None:
        """Tell whether the perception node gives results; else images are shown alone at once."""
        for feed in self.feeds.values():
            feed.store.patience = PATIENCE_ACTIVE if active else PATIENCE_INACTIVE

    def _later(self, job: Callable[[], None]) -> None:
        """Do something in the thread of the executor."""
        assert self._executor is not None
        self._executor.create_task(job)

    def _update(self) -> None:
        if self._watching and not self._watched:
            self._watched = [
                self.create_subscription(
                    DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.result()
                ),
                self.create_subscription(
                    LabelTable, f"{self.target}/label_info", self._on_labels, qos.latched()
                ),
            ]
        elif not self._watching:
            for subscription in self._watched:
                self.destroy_subscription(subscription)
            self._watched = []

    def _on_diagnostics(self, message: Any) -> None:
        parts = parts_of(message, self.target.rsplit("/", maxsplit=1)[-1])
        if not parts:
            return
        self.parts = parts
        self.mono16_white = mono16_white(parts)
        for camera, source in list(camera_sources(parts).items())[:MAX_CAMERAS]:
            feed = self.feeds.get(camera)
            if feed is None:
                feed = self.feeds[camera] = self._make_feed(camera)
            feed.source = source
            feed.update()

    def _make_feed(self, camera: str) -> CameraFeed:
        prefix = f"{self.target}/{camera}" if camera else self.target
        return CameraFeed(
            self,
            prefix,
            lambda: self._post(lambda: self.on_frame(camera)),
            lambda message: self._post(lambda: self.on_prompted(camera, message)),
        )

    def _post(self, function: Callable[[], None]) -> None:
        """Call a function in the loop; not at all once that has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def _on_labels(self, message: Any) -> None:
        try:
            self.labels = LabelSet(
                message.name,
                tuple(
                    Label(
                        label.class_id,
                        label.name,
                        label.is_thing,
                        (label.red, label.green, label.blue),
                    )
                    for label in message.labels
                ),
            )
        except LabelSetError as error:
            self.get_logger().warning(f"label table not used: {error}")
