"""Everything that one camera of the node has of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.node import Node

from rmpsam_ros.node.camera import Camera
from rmpsam_ros.node.depth.spatial_results import SpatialResults
from rmpsam_ros.node.input.calibration import Calibration
from rmpsam_ros.node.parameters.declaration import RosParameters
from rmpsam_ros.node.prompts.clicks import ClickTopics
from rmpsam_ros.node.prompts.dispatcher import PromptDesk
from rmpsam_ros.node.prompts.service import PromptService
from rmpsam_ros.node.results.consumers import ConsumerTopics
from rmpsam_ros.node.self_report import CameraReport
from rmpsam_ros.node.topic_names import CameraScope

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline


class Station:
    """A camera, the requests about its images, and how it does.

    Args:
        scope: where its topics and services are.
        work: notified when an image has arrived.
        prepare: called in the inference thread before every frame.

    Attributes:
        camera: images and results.
        desk: prompt requests.
        report: statuses.
    """

    def __init__(
        self,
        node: Node,
        scope: CameraScope,
        settings: RosParameters,
        work: threading.Condition,
        prepare: Callable[[Pipeline], None],
    ) -> None:
        calibration = Calibration(node, scope, settings["rectified"])
        spatial = None
        if settings["use_depth"]:
            spatial = SpatialResults(node, scope, lambda name: settings[name], calibration)
        self.camera = Camera(
            node,
            scope,
            work,
            compressed=settings["image_transport"] == "compressed",
            overlay_rate=lambda: settings["overlay_rate"],
            backward_jump=lambda: settings["backward_jump"],
            prepare=prepare,
            done=lambda: self.desk.on_frame(),
            consumers=ConsumerTopics(node, scope, lambda: settings["mask_classes"], calibration),
            spatial=spatial,
        )
        self.desk = PromptDesk(
            node, scope, lambda: self.camera.active, lambda name: settings[name]
        )
        self._services = PromptService(node, scope, self.desk, self.camera.headers)
        self._clicks = ClickTopics(node, scope, self.desk, self.camera.headers)
        self.report = CameraReport(
            node, self.camera, self.desk.status, lambda name: settings[name]
        )
