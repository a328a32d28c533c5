"""The service that answers with the mask of what a person or program points at."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header

from rmpsam_ros.msg import PromptedMask
from rmpsam_ros.node.camera import LOG_PERIOD, Camera
from rmpsam_ros.node.call_queue import BusyError, StoppedError
from rmpsam_ros.node.inference_thread import InferenceThread
from rmpsam_ros.node.messages import run_lengths
from rmpsam_ros.srv import AddPrompt

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline, PromptResult
    from rmpsam_ros.segmentation.prompts import ObjectPrompt

MAX_ID_LENGTH = 128
Response = AddPrompt.Response


class _Refusal(Exception):
    """A request that is answered with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class PromptService:
    """Serves ``~/add_prompt`` on the newest processed frame; every request gets a typed answer.

    Requests wait in threads of the executor for the inference thread; images keep coming in
    meanwhile.

    Args:
        thread: returns the inference thread while the node is active, else None.
        timeout: returns how many seconds a request may wait.
    """

    def __init__(
        self,
        node: Node,
        camera: Camera,
        thread: Callable[[], InferenceThread | None],
        timeout: Callable[[], float],
    ) -> None:
        self._logger = node.get_logger()
        self._camera = camera
        self._thread = thread
        self._timeout = timeout
        self._ids = count(1)
        self.answered: dict[int, int] = {}  # number of answers by code
        self._service = node.create_service(
            AddPrompt, "~/add_prompt", self._on_request, callback_group=ReentrantCallbackGroup()
        )

    def _on_request(self, request: Any, response: Any) -> Any:
        try:
            self._answer(request, response)
        except _Refusal as refusal:
            response.code, response.message = refusal.code, str(refusal)
        except Exception as error:
            response.code = Response.INTERNAL_ERROR
            response.message = f"{type(error).__name__}: {error}"
            self._logger.error(traceback.format_exc(), throttle_duration_sec=LOG_PERIOD)
        if response.code != Response.OK:
            self._logger.info(
                f"prompt refused: {response.message}", throttle_duration_sec=LOG_PERIOD
            )
        self.answered[response.code] = self.answered.get(response.code, 0) + 1
        return response

    def _answer(self, request: Any, response: Any) -> None:
        thread = self._thread()
        if thread is None:
            raise _Refusal(Response.NOT_ACTIVE, "the node is not active; activate it first")
        _check_request(request)
        header, result = self._ask(thread, request)
        response.object_id = request.object_id or f"object-{next(self._ids)}"
        response.header = header
        response.mask = PromptedMask(
            object_id=response.object_id,
            state=PromptedMask.SINGLE,
            score=float(result.score),
            mask=run_lengths(result.mask),
        )

    def _ask(self, thread: InferenceThread, request: Any) -> tuple[Header, PromptResult]:
        """Have the inference thread answer, and turn what it raises into refusals."""
        from rmpsam_ros.pipeline import NoFrameError
        from rmpsam_ros.segmentation.prompts import PromptError

        try:
            return thread.call(lambda pipeline: self._prompt(pipeline, request), self._timeout())
        except BusyError as error:
            raise _Refusal(Response.BUSY, str(error)) from error
        except StoppedError as error:
            raise _Refusal(Response.NOT_ACTIVE, str(error)) from error
        except NoFrameError as error:
            raise _Refusal(Response.NO_FRAME, str(error)) from error
        except PromptError as error:
            raise _Refusal(Response.INVALID_REQUEST, str(error)) from error
        except TimeoutError as error:
            raise _Refusal(
                Response.INTERNAL_ERROR, f"no answer within prompt_timeout: {error}"
            ) from error

    def _prompt(self, pipeline: Pipeline, request: Any) -> tuple[Header, PromptResult]:
        """Answer in the inference thread, where the newest frame cannot change meanwhile."""
        newest = self._camera.newest_header
        if newest is None:
            raise _Refusal(Response.NO_FRAME, "no image has been processed yet; send images first")
        wanted = request.stamp
        if (wanted.sec, wanted.nanosec) not in ((0, 0), (newest.stamp.sec, newest.stamp.nanosec)):
            raise _Refusal(
                Response.FRAME_NOT_KEPT,
                f"the image of {_time(wanted)} is not kept; the newest processed one is of "
                f"{_time(newest.stamp)}: ask for that stamp or for zero",
            )
        return newest, pipeline.prompt(_object_prompt(request))


def _check_request(request: Any) -> None:
    """Refuse what needs no image to be refused, before any work is spent on it."""
    from rmpsam_ros.segmentation.prompts import MAX_BOXES, MAX_POINTS

    if request.track:
        raise _Refusal(
            Response.NOT_SUPPORTED,
            "following a prompted object is not supported yet; ask with track: false",
        )
    if len(request.object_id) > MAX_ID_LENGTH:
        raise _Refusal(
            Response.INVALID_REQUEST,
            f"object_id has {len(request.object_id)} characters; expected at most {MAX_ID_LENGTH}",
        )
    if len(request.points) > MAX_POINTS or len(request.boxes) > MAX_BOXES:
        raise _Refusal(
            Response.INVALID_REQUEST,
            f"{len(request.points)} points and {len(request.boxes)} boxes; expected at most "
            f"{MAX_POINTS} and {MAX_BOXES}",
        )


def _object_prompt(request: Any) -> ObjectPrompt:
    from rmpsam_ros.segmentation.prompts import ObjectPrompt

    points = [(one.x, one.y) for one in request.points]
    boxes = [(one.x_min, one.y_min, one.x_max, one.y_max) for one in request.boxes]
    return ObjectPrompt(
        points=np.array(points, np.float32).reshape(-1, 2),
        labels=np.array([one.label for one in request.points], np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
    )


def _time(stamp: Any) -> str:
    return f"{stamp.sec}.{stamp.nanosec:09d}"
