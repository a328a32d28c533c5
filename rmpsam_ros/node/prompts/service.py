"""The services around prompts; every request gets a typed answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from rmpsam_ros.node import qos
from rmpsam_ros.node.input.frame_headers import FrameHeaders
from rmpsam_ros.node.prompts.dispatcher import PromptDispatcher
from rmpsam_ros.node.prompts.everything import EverythingRequests
from rmpsam_ros.node.prompts.requests import Code, Refusal, check_request, object_prompt
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.node.topic_names import TopicNames
from rmpsam_ros.srv import AddPrompt, ClearPrompts, ListPrompts, RemovePrompt, SegmentEverything

if TYPE_CHECKING:  # importing it takes seconds, which belong to the configuration of the node
    from rmpsam_ros.pipeline import PromptedMask


class PromptService:
    """Serves ``add_prompt`` and its companions, and ``reset_tracks``, of one camera.

    Requests wait in threads of the executor for the thread that answers them; images keep coming
    in meanwhile.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        dispatcher: PromptDispatcher,
        headers: FrameHeaders,
        everything: EverythingRequests,
    ) -> None:
        self._dispatcher = dispatcher
        self._headers = headers
        group = ReentrantCallbackGroup()
        self._services = [
            qos.create_service(node, kind, names.private(name), self._handler(name, answer), group)
            for kind, name, answer in (
                (AddPrompt, "add_prompt", self._add),
                (RemovePrompt, "remove_prompt", self._remove),
                (ListPrompts, "list_prompts", self._list),
                (ClearPrompts, "clear_prompts", self._clear),
                (SegmentEverything, "segment_everything", everything.answer),
            )
        ]
        self._services.append(
            qos.create_service(
                node,
                Trigger,
                names.private("reset_tracks"),
                self._on_reset_tracks,
                MutuallyExclusiveCallbackGroup(),  # one at a time: they wait for the network
            )
        )

    def _handler(self, name: str, answer: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
        def on_request(request: Any, response: Any) -> Any:
            code, message = self._dispatcher.attempt(name, lambda: answer(request, response))
            response.code = int(code)
            response.message = message or response.message
            return response

        return on_request

    def _add(self, request: Any, response: Any) -> None:
        self._dispatcher.pipeline()  # before all else: is the node active?
        check_request(request)
        stamp = self._headers.resolve(request.stamp)
        prompt = object_prompt(request)
        result: PromptedMask = self._dispatcher.ask(
            lambda pipeline: pipeline.prompts.prompt_steps(
                prompt, stamp, request.object_id, request.track
            )
        )
        header = self._headers.find(result.stamp)
        response.mask = MESSAGES.prompted_mask(result, header.stamp)
        response.header = header
        response.object_id = result.object_id

    def _remove(self, request: Any, response: Any) -> None:
        if not self._dispatcher.pipeline().prompts.remove(request.object_id):
            raise Refusal(
                Code.NOT_FOUND,
                f"there is no prompted object '{request.object_id[:128]}'; list_prompts names "
                "those that exist",
            )

    def _list(self, request: Any, response: Any) -> None:
        response.masks = [
            MESSAGES.prompted_mask(mask, self._headers.find(mask.stamp).stamp)
            for mask in self._dispatcher.pipeline().prompts.objects()
        ]

    def _clear(self, request: Any, response: Any) -> None:
        response.removed = self._dispatcher.pipeline().prompts.clear()

    def _on_reset_tracks(self, request: Any, response: Any) -> Any:
        code, message = self._dispatcher.attempt(
            "reset_tracks", lambda: self._dispatcher.ask_network(lambda pipeline: pipeline.reset())
        )
        response.success = code is Code.OK
        response.message = message or "all tracks and prompted objects have ended"
        return response
