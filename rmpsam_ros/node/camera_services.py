"""Everything that one camera of the node has of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.node import Node

from rmpsam_ros.node.camera import Camera
from rmpsam_ros.node.depth.spatial_results import SpatialResults
from rmpsam_ros.node.input.calibration import Calibration
from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.prompts.clicks import ClickTopics
from rmpsam_ros.node.prompts.dispatcher import PromptDispatcher
from rmpsam_ros.node.prompts.everything import EverythingAction, EverythingRequests
from rmpsam_ros.node.prompts.service import PromptService
from rmpsam_ros.node.results.consumers import ConsumerTopics
from rmpsam_ros.node.self_report import CameraReport
from rmpsam_ros.node.topic_names import TopicNames

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline


class CameraServices:
    """A camera, the requests about its images, and how it does.

    Args:
        names: where its topics and services are.
        work: notified when an image has arrived.
        prepare: called in the inference thread before every frame.

    Attributes:
        camera: images and results.
        dispatcher: prompt requests.
        report: statuses.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        settings: LiveSettings,
        work: threading.Condition,
        prepare: Callable[[Pipeline], None],
    ) -> None:
        calibration = Calibration(node, names, settings.current.rectified)
        spatial = None
        if settings.current.use_depth:
            spatial = SpatialResults(node, names, settings, calibration)
        self.camera = Camera(
            node,
            names,
            work,
            settings,
            prepare=prepare,
            done=lambda: self.dispatcher.on_frame(),
            consumers=ConsumerTopics(node, names, settings, calibration),
            spatial=spatial,
        )
        self.dispatcher = PromptDispatcher(
            node, names, lambda: self.camera.active, self.camera.silent_for, settings
        )
        everything = EverythingRequests(self.dispatcher, self.camera.headers)
        self._services = PromptService(
            node, names, self.dispatcher, self.camera.headers, everything
        )
        self._everything = EverythingAction(node, names, self.dispatcher, everything)
        self._clicks = ClickTopics(node, names, self.dispatcher, self.camera.headers)
        self.report = CameraReport(node, self.camera, self.dispatcher.status, settings)

    def close(self) -> None:
        """Take down what the node does not take down itself."""
        self._everything.close()
