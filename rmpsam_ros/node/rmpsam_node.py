"""The perception node: a managed node around one pipeline and one camera."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from rmpsam_ros.node import qos
from rmpsam_ros.node.camera import Camera
from rmpsam_ros.node.diagnostics import Level, Status
from rmpsam_ros.node.inference_thread import InferenceThread
from rmpsam_ros.node.label_publishers import LabelPublishers
from rmpsam_ros.node.parameters import NODE_PARAMETERS, Value
from rmpsam_ros.node.prompt_clicks import ClickTopics
from rmpsam_ros.node.prompt_desk import PromptDesk
from rmpsam_ros.node.prompt_service import PromptService
from rmpsam_ros.node.ros_parameters import RosParameters
from rmpsam_ros.node.self_report import SelfReport

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline

CLOSE_TIMEOUT = 30.0  # seconds for the frame that is being processed to end
PROGRESS_PERIOD = 10.0  # seconds between two signs of life while the network is loaded

Progress = Callable[[str], None]
PipelineFactory = Callable[[Mapping[str, Any], Progress], "Pipeline"]


def make_pipeline(values: Mapping[str, Any], progress: Progress) -> Pipeline:
    """Make the pipeline that the parameter values describe."""
    # Importing PyTorch takes seconds; by now the node is up and can say what it is doing.
    progress("loading PyTorch")
    from rmpsam_ros.node.configuration import fusion_config, pipeline_config
    from rmpsam_ros.pipeline import create_pipeline

    pipeline = create_pipeline(pipeline_config(values), progress)
    pipeline.fusion = fusion_config(values, pipeline.label_set)
    return pipeline


class RmpsamNode(LifecycleNode):
    """Segments the images of one camera topic and answers prompts about them.

    Topics, services and parameters are described in docs/. Publishers, subscriptions and services
    live as long as the node; what changes with the state is whether images and prompts are taken.

    Args:
        pipeline_factory: makes the pipeline from the parameter values; tests put their own here.

    Raises:
        ParameterError: a parameter value given at start is not accepted.
    """

    def __init__(self, pipeline_factory: PipelineFactory = make_pipeline, **options: Any) -> None:
        super().__init__("rmpsam", **options)
        self._make_pipeline = pipeline_factory
        self._thread: InferenceThread | None = None
        self._pipeline: Pipeline | None = None
        self._stopping = threading.Event()
        self._network_status = Status("network", Level.OK, "not loaded")
        self._settings = RosParameters(
            self, NODE_PARAMETERS, lambda: self._thread is not None, self._check_parameter
        )
        settings = self._settings
        self._applied_thresholds: tuple[Any, ...] = ()
        self._work = threading.Condition()
        self._camera = Camera(
            self,
            self._work,
            compressed=settings["image_transport"] == "compressed",
            overlay_rate=lambda: settings["overlay_rate"],
            backward_jump=lambda: settings["backward_jump"],
            prepare=self._apply_thresholds,
            done=lambda: self._desk.on_frame(),
        )
        self._desk = PromptDesk(self, lambda: self._camera.active, lambda name: settings[name])
        self._labels = LabelPublishers(self)
        self._prompts = PromptService(self, self._desk, self._camera.headers)
        self._clicks = ClickTopics(self, self._desk, self._camera.headers)
        self._report = SelfReport(
            self,
            self._camera,
            lambda: self._network_status,
            self._desk.status,
            lambda: settings["input_timeout"],
            lambda: "" if self._pipeline is None else self._pipeline.engine_info.device,
        )
        for line in settings.unknown_names():
            self.get_logger().warning(line)
        if settings["autostart"]:
            # In a group of its own, so that lifecycle services answer while the network is loaded.
            self._autostart_timer = self.create_timer(
                0.0,
                self._autostart,
                callback_group=MutuallyExclusiveCallbackGroup(),
                clock=Clock(clock_type=ClockType.STEADY_TIME),
            )

    @property
    def max_waiting_prompts(self) -> int:
        """Prompt requests that may block a thread of the executor at the same time."""
        return int(self._settings["max_waiting_prompts"])

    # Lifecycle --------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and publish the label table.

        Returns:
            SUCCESS: everything is loaded and warmed up; the node becomes inactive.
            FAILURE: a parameter, file or device cannot be used; the node stays unconfigured, and
                the reason is in the log and on /diagnostics.
        """
        started = time.monotonic()
        try:
            pipeline = self._load()
        except InterruptedError:
            return TransitionCallbackReturn.FAILURE  # the process ends
        except Exception as error:
            self._release()
            self._fail(error)
            return TransitionCallbackReturn.FAILURE
        self._pipeline = pipeline
        self._labels.publish(pipeline.label_set, self._settings["score_threshold"])
        info = pipeline.engine_info
        random = "random" in info.weights
        self._set_network_status(
            Level.WARN if random else Level.OK,
            str(info),
            engine=info.engine,
            precision=info.precision,
            device=info.device,
            model=info.model,
            weights=info.weights,
            labels=pipeline.label_set.name,
            prompts=pipeline.prompt_engine_info,
        )
        log = self.get_logger().warning if random else self.get_logger().info
        log(f"network: {info}; loaded in {time.monotonic() - started:.1f} s")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take in images and prompts.

        Returns:
            SUCCESS: the node is active.
        """
        self._camera.start()
        subscription = self._camera.subscription
        self.get_logger().info(
            f"active: waiting for {subscription.msg_type.__name__} on {subscription.topic_name} "
            f"({qos.describe(subscription.qos_profile)}), results on "
            f"{self.resolve_topic_name('~/panoptic')} and others"
        )
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take in no more images and prompts; the network stays loaded.

        Returns:
            SUCCESS: the node is inactive.
        """
        self._camera.stop()
        self.get_logger().info("inactive: images and prompts are not taken")
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back the network's memory.

        Returns:
            SUCCESS: the node is unconfigured.
            ERROR: the network does not stop; the node goes on to on_error.
        """
        if not self._release():
            self._set_network_status(Level.ERROR, "the network does not stop")
            return TransitionCallbackReturn.ERROR
        self._set_network_status(Level.OK, "not loaded")
        self.get_logger().info("unconfigured: the network is unloaded")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back everything.

        Returns:
            SUCCESS: the node is finalized.
        """
        self._release()
        self._set_network_status(Level.OK, "shut down")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back what can be given back after a transition that ended in ERROR.

        Returns:
            SUCCESS: the node is unconfigured and may be configured again.
            FAILURE: the network still runs; the node is finalized.
        """
        self.get_logger().error(f"error while {state.label}: {self._network_status.message}")
        if self._release():
            return TransitionCallbackReturn.SUCCESS
        return TransitionCallbackReturn.FAILURE

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        elif not self._stopping.is_set():
            self.get_logger().error(
                "not started; when the reason is gone: ros2 lifecycle set "
                f"{self.get_fully_qualified_name()} configure, then activate"
            )

    def stop(self, timeout: float) -> bool:
        """Give up loading, end the inference and all waiting prompts; for the end of the process.

        Returns:
            False if the network does not stop within `timeout` seconds.
        """
        self._stopping.set()
        stopped = self._release(timeout)
        self._camera.publishers.close()
        return stopped

    # Network ----------------------------------------------------------------------------------

    def _load(self) -> Pipeline:
        """Make the inference thread and wait until it has made the pipeline."""
        values = self._settings.values()
        self._camera.forget()
        self._set_network_status(Level.OK, "loading")
        self._thread = thread = InferenceThread(
            lambda: self._make_pipeline(values, self._on_progress),
            [self._camera],
            self._work,
            self.max_waiting_prompts,
        )
        started = sign_of_life = time.monotonic()
        while (pipeline := thread.wait_until_ready(0.1)) is None:
            now = time.monotonic()
            if self._stopping.is_set():
                raise InterruptedError("stopped while loading")
            if now - sign_of_life > PROGRESS_PERIOD:
                sign_of_life = now
                self.get_logger().info(
                    f"still loading after {now - started:.0f} s: {self._network_status.message}"
                )
        self._desk.open(pipeline, thread)
        return pipeline

    def _release(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Stop taking images and end the threads, first the one that only uses the pipeline."""
        self._camera.stop()
        if not self._desk.close(timeout):
            return False
        thread = self._thread
        if thread is not None and not thread.close(timeout):
            return False
        self._thread = self._pipeline = None
        return True

    def _on_progress(self, line: str) -> None:
        self._set_network_status(Level.OK, line)
        self.get_logger().info(line)

    def _fail(self, error: Exception) -> None:
        """Log and report why the network cannot be loaded."""
        known = isinstance(error, RuntimeError | ValueError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        self._set_network_status(Level.ERROR, f"cannot be loaded: {reason}")
        if not known:
            self.get_logger().error("".join(traceback.format_exception(error)))
        self.get_logger().error(f"network cannot be loaded: {reason}")

    def _set_network_status(self, level: Level, message: str, **values: object) -> None:
        self._network_status = Status("network", level, message, values)

    # Live parameters --------------------------------------------------------------------------

    def _check_parameter(self, name: str, value: Value) -> None:
        """Refuse class names that the loaded label set does not have."""
        if name == "classes" and self._pipeline is not None:
            from rmpsam_ros.node.configuration import class_ids

            class_ids(str(value), self._pipeline.label_set)

    def _apply_thresholds(self, pipeline: Pipeline) -> None:
        """Carry changed thresholds over to the pipeline; runs before every frame."""
        from rmpsam_ros.node.configuration import LIVE_NAMES, fusion_config

        wanted = tuple(self._settings[name] for name in LIVE_NAMES)
        if wanted != self._applied_thresholds:
            values = dict(zip(LIVE_NAMES, wanted, strict=True))
            pipeline.fusion = fusion_config(values, pipeline.label_set)
            self._applied_thresholds = wanted
