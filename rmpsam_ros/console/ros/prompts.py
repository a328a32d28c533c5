"""Prompt services of one camera: requests from checked values, answers as messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time

from rmpsam_ros.action import SegmentEverything
from rmpsam_ros.console.ros.calls import Services
from rmpsam_ros.msg import PromptBox, PromptPoint
from rmpsam_ros.srv import AddPrompt, ClearPrompts, ListPrompts, RemovePrompt

TIMEOUT = 20.0  # seconds; the node itself answers within its prompt_timeout
EVERYTHING_TIMEOUT = 600.0
CODES = {
    0: "OK",
    1: "INVALID_REQUEST",
    2: "NO_FRAME",
    3: "FRAME_NOT_KEPT",
    4: "TOO_MANY_PROMPTS",
    5: "BUSY",
    6: "NOT_ACTIVE",
    7: "NOT_FOUND",
    8: "INTERNAL_ERROR",
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What somebody pointed at: points (x, y, label) and boxes (x_min, y_min, x_max, y_max)."""

    stamp: int
    object_id: str
    points: Sequence[tuple[float, float, int]]
    boxes: Sequence[tuple[float, float, float, float]]
    track: bool


class PromptServices:
    """The prompt services of the cameras; each answer has ``code`` and ``message``.

    Every method raises CallError when the node does not answer.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    async def add(self, camera: str, prompt: Prompt) -> Any:
        """Ask for the mask of a prompt."""
        request = AddPrompt.Request(
            stamp=time_message(prompt.stamp), object_id=prompt.object_id, track=prompt.track
        )
        request.points = [PromptPoint(x=x, y=y, label=label) for x, y, label in prompt.points]
        request.boxes = [
            PromptBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)
            for x_min, y_min, x_max, y_max in prompt.boxes
        ]
        return await self._call(AddPrompt, camera, "add_prompt", request)

    async def remove(self, camera: str, object_id: str) -> Any:
        """Forget one object."""
        request = RemovePrompt.Request(object_id=object_id)
        return await self._call(RemovePrompt, camera, "remove_prompt", request)

    async def clear(self, camera: str) -> Any:
        """Forget all objects."""
        return await self._call(ClearPrompts, camera, "clear_prompts", ClearPrompts.Request())

    async def list(self, camera: str) -> Any:
        """Return all objects as they are now."""
        return await self._call(ListPrompts, camera, "list_prompts", ListPrompts.Request())

    async def everything(
        self, camera: str, stamp: int, points_per_side: int, on_feedback: Callable[[Any], None]
    ) -> Any:
        """Ask for masks of everything in an image; who cancels this frees the node.

        Args:
            on_feedback: called in the loop with masks as they are found.
        """
        goal = SegmentEverything.Goal(stamp=time_message(stamp), points_per_side=points_per_side)
        return await self._services.work(
            SegmentEverything,
            _full(camera, "segment_everything"),
            goal,
            on_feedback,
            EVERYTHING_TIMEOUT,
        )

    async def _call(
        self, kind: Any, camera: str, name: str, request: Any, timeout: float = TIMEOUT
    ) -> Any:
        return await self._services.call(kind, _full(camera, name), request, timeout)


def _full(camera: str, name: str) -> str:
    return f"{camera}/{name}" if camera else name


def time_message(stamp: int) -> Time:
    """Fill a Time with nanoseconds."""
    seconds, rest = divmod(stamp, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)
