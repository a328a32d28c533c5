"""Dispatch of prompt requests to the pipeline: thread, limits, bookkeeping."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rclpy.node import Node

from rmpsam_ros.node.camera import LOG_PERIOD
from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.printable import printable, quoted
from rmpsam_ros.node.prompts.rate_limit import RateLimit
from rmpsam_ros.node.prompts.requests import Code, Refusal, refusal
from rmpsam_ros.node.status import Level, Status
from rmpsam_ros.node.threads.inference_thread import InferenceThread
from rmpsam_ros.node.threads.prompt_thread import PromptThread
from rmpsam_ros.node.topic_names import TopicNames
from rmpsam_ros.prompting.steps import Steps

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline

T = TypeVar("T")
MIN_KEPT = 1.0  # seconds for which the newest image is always answered on
ERROR_MEMORY = 10.0  # seconds for which an error is warned about


class PromptDispatcher:
    """Has the pipeline of one camera answer requests, beside the inference where possible.

    Args:
        names: which camera it is.
        active: returns whether requests are taken.
        silent_for: returns the seconds since the last image came; 0: none has come yet.
        settings: limits of requests and of their waiting.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        active: Callable[[], bool],
        silent_for: Callable[[], float],
        settings: LiveSettings,
    ) -> None:
        self._logger = node.get_logger()
        self._names = names
        self._active = active
        self._silent_for = silent_for
        self._settings = settings
        self._limit = RateLimit()
        self._pipeline: Pipeline | None = None
        self._inference: InferenceThread | None = None
        self._beside: PromptThread | None = None
        self._lock = threading.Lock()
        self._answered: Counter[str] = Counter()
        self._last_error, self._last_error_time = "", 0.0

    # --- life cycle ---

    def open(
        self, pipeline: Pipeline, inference: InferenceThread, beside: PromptThread | None
    ) -> None:
        """Begin to answer, with a pipeline that has been loaded by this inference thread.

        Args:
            beside: the thread of the prompt engine, if it has one of its own.
        """
        self._pipeline, self._inference, self._beside = pipeline, inference, beside

    def close(self) -> None:
        """Answer no more; to be done after the thread of the prompt engine has ended."""
        self._pipeline = self._inference = self._beside = None

    def on_frame(self) -> None:
        """Take note that a frame has been processed; returns at once."""
        pipeline, beside = self._pipeline, self._beside
        if pipeline is not None and beside is not None:
            beside.on_frame(pipeline, self._on_follow_error)

    # --- requests ---

    def attempt(self, what: str, answer: Callable[[], None]) -> tuple[Code, str]:
        """Answer a request, count it, and return its code and message; never raises.

        Args:
            what: the kind of request, for the log.
            answer: fills the response; what it raises becomes code and message.
        """
        code, message = Code.OK, ""
        try:
            answer()
        except Exception as error:
            code, message = self._refuse(what, error)
        with self._lock:
            self._answered[code.name] += 1
        if code is Code.INTERNAL_ERROR:
            self.show(f"{what}: {message}")
        return code, message

    def pipeline(self) -> Pipeline:
        """Return the pipeline, for what may be done from any thread.

        Raises:
            Refusal: the node is not active.
        """
        pipeline = self._pipeline
        if pipeline is None or not self._active():
            raise Refusal(Code.NOT_ACTIVE, "the node is not active; activate it first")
        return pipeline

    @property
    def timeout(self) -> float:
        """Seconds after which `ask` gives up."""
        return self._settings.current.prompt_timeout

    def ask(self, function: Callable[[Pipeline], Steps[T]]) -> T:
        """Have the thread of the prompt engine do work in steps, and return its result.

        The answer comes within ``prompt_timeout``, or one of the errors does.

        Raises:
            Refusal: the node is not active, requests come too fast, or images come no more.
            Exception: as `CallQueue.call`.
        """
        pipeline = self.pipeline()
        self._check_age()
        rate = self._settings.current.prompt_requests_rate
        if not self._limit.take(rate):
            raise Refusal(
                Code.BUSY,
                f"more than {rate:g} requests per second (prompt_requests_rate); try again later",
            )
        thread = self._beside or self._inference
        if thread is None:
            raise Refusal(Code.NOT_ACTIVE, "the network is not loaded")
        return thread.calls.call(pipeline, function, self._settings.current.prompt_timeout)

    def _check_age(self) -> None:
        """Refuse to answer on images that nobody sees any more.

        The pipeline only knows how far stamps lie apart, not how late it is.
        """
        silence, kept = self._silent_for(), self._settings.current.keep_seconds
        if silence > max(kept, MIN_KEPT):
            raise Refusal(
                Code.FRAME_NOT_KEPT,
                f"no image has come for {silence:.1f} s, and prompts are answered on those of the "
                f"last {kept:g} s (keep_seconds): send images",
            )

    def ask_network(self, function: Callable[[Pipeline], T]) -> T:
        """Have the inference thread run a function between two frames, as `ask`."""
        pipeline, inference = self.pipeline(), self._inference
        if inference is None:
            raise Refusal(Code.NOT_ACTIVE, "the network is not loaded")
        return inference.calls.call(pipeline, function, self._settings.current.prompt_timeout)

    def _refuse(self, what: str, error: Exception) -> tuple[Code, str]:
        """Log why a request is refused, and let go of what it has led to."""
        known = refusal(error)
        if known is None:
            known = Refusal(Code.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
            self._logger.error(quoted(traceback.format_exc()), throttle_duration_sec=LOG_PERIOD)
        self._logger.info(
            f"{self._names.about(what)} refused ({known.code.name}): {printable(str(known))}",
            throttle_duration_sec=LOG_PERIOD,
        )
        # The error knows the calls that it came through, which know a kept image, and the error:
        # a circle, which the garbage collector finds late.
        traceback.clear_frames(error.__traceback__)
        return known.code, str(known)

    # --- diagnostics ---

    def show(self, error: str) -> None:
        """Show what went wrong on /diagnostics."""
        self._last_error, self._last_error_time = error, time.monotonic()

    def status(self) -> Status:
        """Return how prompts do."""
        pipeline, part = self._pipeline, self._names.about("prompts")
        if pipeline is None:
            return Status(part, Level.OK, "not loaded", {"last error": self._last_error})
        states = Counter(prompted.state.name for prompted in pipeline.prompts.objects())
        tracked, lost = states["TRACKED"], states["LOST"]
        level, message = Level.OK, f"{tracked + lost} followed, {lost} of them lost"
        if self._last_error and time.monotonic() - self._last_error_time < ERROR_MEMORY:
            level, message = Level.WARN, self._last_error
        with self._lock:
            answered = dict(self._answered)
        values: dict[str, object] = {
            "engine": pipeline.prompts.engine.info,
            "live": states.total(),
            "tracked": tracked,
            "lost": lost,
            **{f"answered {name}": answered.get(name, 0) for name in Code.__members__},
            "last error": self._last_error,
        }
        return Status(part, level, message, values)

    def _on_follow_error(self, error: Exception) -> None:
        text = printable(f"prompted objects not followed: {type(error).__name__}: {error}")
        self._logger.warning(self._names.about(text), throttle_duration_sec=LOG_PERIOD)
        self.show(text)
