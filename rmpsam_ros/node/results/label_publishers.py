"""The latched label table, once with colours and once as vision_msgs has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rclpy.node import Node

from rmpsam_ros.msg import LabelTable
from rmpsam_ros.node import qos
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.topic_names import TopicNames

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = VisionClass = None

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.labels import LabelSet


class LabelPublishers:
    """Publishes ``~/label_info``, and ``panoptic/label_info`` of cameras where vision_msgs is."""

    def __init__(self, node: Node, cameras: Sequence[TopicNames]) -> None:
        self._node = node
        self._table = qos.create_publisher(
            node, LabelTable, "~/label_info", qos.latched(), overridable=False
        )
        self._vision = [
            qos.create_publisher(
                node,
                LabelInfo,
                names.private("panoptic/label_info"),
                qos.latched(),
                overridable=False,
            )
            for names in (cameras if LabelInfo is not None else ())
        ]

    def publish(self, labels: LabelSet, threshold: float) -> None:
        """Publish the label set; `threshold` is the score that a segment needs."""
        self._table.publish(MESSAGES.label_table(labels))
        for publisher in self._vision:
            message = LabelInfo(threshold=threshold)
            message.header.stamp = self._node.get_clock().now().to_msg()
            message.class_map = [
                VisionClass(class_id=label.class_id, class_name=label.name)
                for label in labels.labels
            ]
            publisher.publish(message)
