"""Prompt requests: the codes of their answers, the checks that need no image, the conversion."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from rmpsam_ros.tracking.prompted_records import MAX_ID_LENGTH

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.prompt_types import ObjectPrompt


class Code(IntEnum):
    """Codes of all prompt services; each service has those that it can answer."""

    OK = 0
    INVALID_REQUEST = 1
    NO_FRAME = 2
    FRAME_NOT_KEPT = 3
    TOO_MANY_PROMPTS = 4
    BUSY = 5
    NOT_ACTIVE = 6
    NOT_FOUND = 7
    INTERNAL_ERROR = 8


class Refusal(Exception):
    """A request that is answered with a code and a reason."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def check_request(request: Any) -> None:
    """Refuse an AddPrompt request for what needs no image, before any work is spent on it."""
    from rmpsam_ros.segmentation.prompt_types import MAX_BOXES, MAX_POINTS

    if len(request.object_id) > MAX_ID_LENGTH:
        raise Refusal(
            Code.INVALID_REQUEST,
            f"object_id has {len(request.object_id)} characters; expected at most {MAX_ID_LENGTH}",
        )
    if len(request.points) > MAX_POINTS or len(request.boxes) > MAX_BOXES:
        raise Refusal(
            Code.INVALID_REQUEST,
            f"{len(request.points)} points and {len(request.boxes)} boxes; expected at most "
            f"{MAX_POINTS} and {MAX_BOXES}",
        )


def object_prompt(request: Any) -> ObjectPrompt:
    """Return the points and boxes of an AddPrompt request."""
    from rmpsam_ros.segmentation.prompt_types import ObjectPrompt

    points = [(point.x, point.y) for point in request.points]
    boxes = [(box.x_min, box.y_min, box.x_max, box.y_max) for box in request.boxes]
    return ObjectPrompt(
        points=np.array(points, np.float32).reshape(-1, 2),
        labels=np.array([point.label for point in request.points], np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
    )


def click_prompt(x: float, y: float) -> ObjectPrompt:
    """Return one foreground point."""
    from rmpsam_ros.segmentation.prompt_types import FOREGROUND, ObjectPrompt

    with np.errstate(over="ignore"):  # it becomes infinite, and is refused
        point = np.array([[x, y]], np.float64).astype(np.float32)
    return ObjectPrompt(point, np.array([FOREGROUND], np.uint8), np.zeros((0, 4), np.float32))


def refusal(error: Exception) -> Refusal | None:
    """Return how an error of the pipeline or its threads is answered, None if it is a surprise."""
    from rmpsam_ros import pipeline
    from rmpsam_ros.node.threads.call_queue import (
        BusyError,
        StalledError,
        StoppedError,
        TookTooLongError,
        WaitedTooLongError,
    )
    from rmpsam_ros.runtime import EngineError
    from rmpsam_ros.segmentation.prompt_types import PromptError

    if isinstance(error, Refusal):
        return error
    if isinstance(error, WaitedTooLongError):
        return Refusal(Code.BUSY, f"{error} (prompt_timeout); try again later")
    if isinstance(error, TookTooLongError):
        return Refusal(Code.BUSY, f"{error} (prompt_timeout); ask for less, or try again later")
    codes: dict[type[Exception], Code] = {
        BusyError: Code.BUSY,
        StoppedError: Code.NOT_ACTIVE,
        StalledError: Code.INTERNAL_ERROR,
        pipeline.NoFrameError: Code.NO_FRAME,
        pipeline.FrameNotKeptError: Code.FRAME_NOT_KEPT,
        pipeline.TooManyPromptsError: Code.TOO_MANY_PROMPTS,
        PromptError: Code.INVALID_REQUEST,
        EngineError: Code.INTERNAL_ERROR,
        FloatingPointError: Code.INTERNAL_ERROR,
    }
    for kind, code in codes.items():
        if isinstance(error, kind):
            return Refusal(code, str(error))
    return None
