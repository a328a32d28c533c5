"""Mouse clicks as prompts: what viewers publish, without a client program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PointStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from rmpsam_ros.node import qos
from rmpsam_ros.node.camera import LOG_PERIOD
from rmpsam_ros.node.input.frame_headers import FrameHeaders
from rmpsam_ros.node.prompts.dispatcher import PromptDispatcher
from rmpsam_ros.node.prompts.requests import Code, click_prompt
from rmpsam_ros.node.topic_names import TopicNames

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import PromptedMask


class ClickTopics:
    """Takes clicks on ``click``, ``<image>_mouse_left`` and ``overlay_mouse_left`` of a camera.

    A click begins to follow the object there, or adds a foreground point to the followed object
    whose mask it hits. One click at a time waits for its answer; what cannot be answered is logged
    and shown on /diagnostics.
    """

    def __init__(
        self, node: Node, names: TopicNames, dispatcher: PromptDispatcher, headers: FrameHeaders
    ) -> None:
        self._logger = node.get_logger()
        self._names = names
        self._dispatcher = dispatcher
        self._headers = headers
        group = MutuallyExclusiveCallbackGroup()
        image = node.resolve_topic_name(names.input("image"))
        topics = (
            (PointStamped, names.private("click"), self._on_stamped),
            (Point, f"{image}_mouse_left", self._on_mouse),
            (Point, names.private("overlay_mouse_left"), self._on_mouse),
        )
        self._subscriptions = [
            qos.create_subscription(node, kind, topic, callback, qos.result(), group)
            for kind, topic, callback in topics
        ]

    def _on_stamped(self, message: Any) -> None:
        self._click(message.point.x, message.point.y, message.header.stamp)

    def _on_mouse(self, message: Any) -> None:
        self._click(message.x, message.y, Time())

    def _click(self, x: float, y: float, stamp: Time) -> None:
        click = f"click at ({x:g}, {y:g})"
        code, reason = self._dispatcher.attempt(click, lambda: self._answer(x, y, stamp))
        if code is not Code.OK:  # nobody else is told
            self._dispatcher.show(f"{click} refused: {reason}")

    def _answer(self, x: float, y: float, stamp: Time) -> None:
        self._dispatcher.pipeline()
        wanted, prompt = self._headers.resolve(stamp), click_prompt(x, y)
        result: PromptedMask = self._dispatcher.ask(
            lambda pipeline: pipeline.prompts.prompt_steps(
                prompt, wanted, pipeline.prompts.object_at(x, y), track=True
            )
        )
        self._logger.info(
            f"{self._names.about('click')} at ({x:g}, {y:g}): {result.object_id}, "
            f"{result.mask.area} pixels, score {result.score:.2f}",
            throttle_duration_sec=LOG_PERIOD,
        )
