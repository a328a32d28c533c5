"""Requests for masks of everything, by service at once and by action as they are found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.action import CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from rmpsam_ros.action import SegmentEverything
from rmpsam_ros.node import qos
from rmpsam_ros.node.input.frame_headers import FrameHeaders
from rmpsam_ros.node.prompts.dispatcher import PromptDispatcher
from rmpsam_ros.node.prompts.requests import Code, Refusal
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.topic_names import TopicNames

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.prompting import EverythingFound, EverythingProgress

NAME = "segment_everything"
SHARE = 0.5  # of prompt_timeout; the rest is for what has begun, and the answer


class EverythingRequests:
    """Has everything be segmented, for one request of a camera at a time."""

    def __init__(self, dispatcher: PromptDispatcher, headers: FrameHeaders) -> None:
        self._dispatcher = dispatcher
        self._headers = headers
        self._running = threading.Lock()

    def answer(
        self,
        request: Any,
        response: Any,
        report: Callable[[EverythingProgress], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Fill the response of a service, or the result of an action, with what was found.

        Args:
            report, cancelled: as in `Prompter.everything_steps`.

        Raises:
            Refusal: as `PromptDispatcher.ask`, or everything is being segmented already.
            Exception: as `CallQueue.call`.
        """
        self._dispatcher.pipeline()
        stamp = self._headers.resolve(request.stamp)
        if not self._running.acquire(blocking=False):  # clicks must find a place to wait
            raise Refusal(Code.BUSY, "everything is being segmented already; try again later")
        try:
            seconds = SHARE * self._dispatcher.timeout
            until = time.monotonic() + seconds
            found: EverythingFound = self._dispatcher.ask(
                lambda pipeline: pipeline.prompts.everything_steps(
                    stamp, request.points_per_side, until, report, cancelled
                )
            )
        finally:
            self._running.release()
        response.header = self._headers.find(found.stamp)
        response.masks = self.messages(found)
        response.complete = found.complete
        if not found.complete:
            response.message = (
                "canceled: these are the masks that had been found"
                if cancelled()
                else f"ended after {seconds:g} s (half of prompt_timeout), before all was asked "
                "for; raise prompt_timeout for more"
            )

    def header(self, stamp: float) -> Any:
        """Return the header of a frame."""
        return self._headers.find(stamp)

    def messages(self, found: EverythingFound | EverythingProgress) -> list[Any]:
        """Return masks as messages."""
        stamp = self._headers.find(found.stamp).stamp
        return [MESSAGES.prompted_mask(mask, stamp) for mask in found.masks]


class EverythingAction:
    """The action ``segment_everything`` of one camera.

    Every goal is accepted and answered with a code, as a request of the service is, so that a
    client learns why it got nothing.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        dispatcher: PromptDispatcher,
        requests: EverythingRequests,
    ) -> None:
        self._dispatcher = dispatcher
        self._requests = requests
        self._server = qos.create_action_server(
            node,
            SegmentEverything,
            names.private(NAME),
            self._execute,
            lambda goal: CancelResponse.ACCEPT,
            ReentrantCallbackGroup(),
        )

    def close(self) -> None:
        """Take the action down; before its node is."""
        self._server.destroy()

    def _execute(self, goal: Any) -> Any:
        """Work on a goal, in a thread of the executor, which waits for the thread that works."""
        result = SegmentEverything.Result()
        code, message = self._dispatcher.attempt(
            NAME,
            lambda: self._requests.answer(
                goal.request,
                result,
                lambda progress: self._report(goal, progress),
                lambda: bool(goal.is_cancel_requested),
            ),
        )
        result.code, result.message = int(code), message or result.message
        if goal.is_cancel_requested:
            goal.canceled()
        elif code is Code.OK:
            goal.succeed()
        else:
            goal.abort()
        return result

    def _report(self, goal: Any, progress: EverythingProgress) -> None:
        goal.publish_feedback(
            SegmentEverything.Feedback(
                header=self._requests.header(progress.stamp),
                masks=self._requests.messages(progress),
                done=progress.done,
                total=progress.total,
            )
        )
