"""The perception node: a managed node around one network and its cameras."""

from __future__ import annotations

import functools
import gc
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from rmpsam_ros.missing_packages import remedy_of
from rmpsam_ros.node import qos
from rmpsam_ros.node.camera import Camera
from rmpsam_ros.node.camera_services import CameraServices
from rmpsam_ros.node.loading import PipelineFactory, make_pipeline
from rmpsam_ros.node.parameters.declaration import DeclaredParameters
from rmpsam_ros.node.parameters.live_values import LiveThresholds
from rmpsam_ros.node.parameters.parameter import Value
from rmpsam_ros.node.parameters.settings import Settings
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
from rmpsam_ros.node.printable import quoted
from rmpsam_ros.node.process import give_back_memory
from rmpsam_ros.node.results import detections, foxglove
from rmpsam_ros.node.results.label_publishers import LabelPublishers
from rmpsam_ros.node.self_report import SelfReport
from rmpsam_ros.node.status import Level, Status
from rmpsam_ros.node.threads.call_queue import CallQueue
from rmpsam_ros.node.threads.inference_thread import InferenceThread
from rmpsam_ros.node.threads.prompt_thread import PromptThread
from rmpsam_ros.node.threads.right_of_way import RightOfWay
from rmpsam_ros.node.threads.watchdog import Watchdog
from rmpsam_ros.node.threads.worker import Worker
from rmpsam_ros.node.topic_names import topic_names_of

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline

CLOSE_TIMEOUT = 30.0  # seconds for the frame that is being processed to end
STALLED_TIMEOUT = 1.0  # the same, when it is known to hang
PROGRESS_PERIOD = 10.0  # seconds between two signs of life while the network is loaded

# Threads of the executor besides those in which prompt requests wait. For each camera: its images
# (of either quality of service), depth and calibration, its clicks, the reset of its tracks. For
# all: lifecycle and parameters, autostart, report, and two that are always free to answer BUSY.
CAMERA_THREADS, OTHER_THREADS = 6, 5

Transition = Callable[["RmpsamNode", LifecycleState], TransitionCallbackReturn]


def log_failure(transition: Transition) -> Transition:
    """Have what a transition raises logged and reported; the node goes on to on_error.

    ROS 2 would turn it into ERROR without a word.
    """

    @functools.wraps(transition)
    def run(self: RmpsamNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception as error:
            self.report_error(f"{transition.__name__} failed", error)
            return TransitionCallbackReturn.ERROR

    return run


class RmpsamNode(LifecycleNode):
    """Segments the images of one or several cameras and answers prompts about them.

    Topics, services and parameters are described in docs/. Publishers, subscriptions and services
    live as long as the node; what changes with the state is whether images and prompts are taken.

    Args:
        pipeline_factory: makes the pipeline from the settings; tests put their own here.

    Raises:
        ParameterError: a parameter value given at start is not accepted.
    """

    def __init__(self, pipeline_factory: PipelineFactory = make_pipeline, **options: Any) -> None:
        super().__init__("rmpsam", **options)
        self._make_pipeline = pipeline_factory
        self._thread: InferenceThread | None = None
        self._prompt_thread: PromptThread | None = None
        self._pipelines: Sequence[Pipeline] = ()  # one for each camera while the network is loaded
        self._stopping = threading.Event()
        self._starting = threading.Lock()  # held while a thread is made: `stop` must see it
        self._network_status = Status("network", Level.OK, "not loaded")
        self._camera_services: list[CameraServices] = []  # none if parameters are bad
        self._settings = settings = DeclaredParameters(
            self,
            NODE_PARAMETERS,
            Settings,
            lambda: self._thread is not None,
            self._check_parameter,
        )
        thresholds = LiveThresholds(settings)
        self._work = threading.Condition()
        self._camera_services = [
            CameraServices(self, names, settings, self._work, thresholds.apply)
            for names in topic_names_of(settings.current.cameras)
        ]
        self._labels = LabelPublishers(
            self, [services.camera.names for services in self._camera_services]
        )
        self._watchdog = Watchdog(
            settings, self._watched_threads, self.get_logger(), self.get_fully_qualified_name()
        )
        self._report = SelfReport(
            self,
            [services.report for services in self._camera_services],
            lambda: self._watchdog.check(self._network_status),
            lambda: self._pipelines[0].engine_info.device if self._pipelines else "",
        )
        for line in settings.unknown_names():
            self.get_logger().warning(line)
        for package in (detections, foxglove):
            if not package.installed():
                self.get_logger().info(package.NOT_INSTALLED)
        if settings.current.autostart:
            # In a group of its own, so that lifecycle services answer while the network is loaded.
            self._autostart_timer = self.create_timer(
                0.0,
                self._autostart,
                callback_group=MutuallyExclusiveCallbackGroup(),
                clock=Clock(clock_type=ClockType.STEADY_TIME),
            )

    @property
    def executor_threads(self) -> int:
        """Threads that the executor needs so that no callback waits for an unrelated one."""
        each = self._settings.current.max_waiting_prompts + CAMERA_THREADS
        return len(self._camera_services) * each + OTHER_THREADS

    @property
    def cameras(self) -> list[Camera]:
        """The cameras, in the order of parameter ``cameras``."""
        return [services.camera for services in self._camera_services]

    # Lifecycle --------------------------------------------------------------------------------

    @log_failure
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and publish the label table.

        Returns:
            SUCCESS: everything is loaded and warmed up; the node becomes inactive.
            FAILURE: a parameter, file or device cannot be used; the node stays unconfigured, and
                the reason is in the log and on /diagnostics.
        """
        started = time.monotonic()
        try:
            pipelines = self._load()
        except InterruptedError:
            self._release(0.0)  # the process ends; `stop` waits for what runs still
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._release()
            self.report_error("network cannot be loaded", error)
            return TransitionCallbackReturn.FAILURE
        self._pipelines, pipeline = pipelines, pipelines[0]
        self._labels.publish(pipeline.label_set, self._settings.current.score_threshold)
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
            **{"licence of the weights": info.licence or "none"},
            labels=pipeline.label_set.name,
            prompts=pipeline.prompts.engine.info,
        )
        if info.licence:
            self.get_logger().info(f"licence of the weights: {info.licence}")
        line = f"network: {info}; loaded in {time.monotonic() - started:.1f} s"
        if random:  # two lines: rclpy ties each to one severity for the life of the process
            self.get_logger().warning(line)
        else:
            self.get_logger().info(line)
        return TransitionCallbackReturn.SUCCESS

    @log_failure
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take in images and prompts.

        Returns:
            SUCCESS: the node is active.
        """
        for camera in self.cameras:
            camera.start()
            subscription = camera.subscription
            self.get_logger().info(
                f"active: waiting for {subscription.msg_type.__name__} on "
                f"{subscription.topic_name} ({qos.describe(camera.profile)}), results "
                f"on {self.resolve_topic_name(camera.names.private('panoptic'))} and others"
            )
        return TransitionCallbackReturn.SUCCESS

    @log_failure
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take in no more images and prompts; the network stays loaded.

        Returns:
            SUCCESS: the node is inactive.
        """
        for camera in self.cameras:
            camera.stop()
        self.get_logger().info("inactive: images and prompts are not taken")
        return TransitionCallbackReturn.SUCCESS

    @log_failure
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back the network's memory.

        A network that does not stop is left behind: another one can be loaded beside it.

        Returns:
            SUCCESS: the node is unconfigured.
        """
        if self._release():
            self._set_network_status(Level.OK, "not loaded")
            self.get_logger().info("unconfigured: the network is unloaded")
        else:
            self._leave_behind()
        return TransitionCallbackReturn.SUCCESS

    @log_failure
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
        """
        self.get_logger().error(f"error while {state.label}: {self._network_status.message}")
        if not self._release():
            self._leave_behind()
        return TransitionCallbackReturn.SUCCESS

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
        with self._starting:
            self._stopping.set()
        stopped = self._release(timeout)
        for camera in self.cameras:
            camera.publishers.close()
        return stopped

    def destroy_node(self) -> None:
        """Take down everything that the node has in the graph."""
        for services in self._camera_services:
            services.close()
        super().destroy_node()

    # Network ----------------------------------------------------------------------------------

    def _load(self) -> Sequence[Pipeline]:
        """Make the inference thread and wait until it has made the pipelines."""
        settings = self._settings.current
        for camera in self.cameras:
            camera.forget()
        self._set_network_status(Level.OK, "loading")
        right_of_way = RightOfWay()
        with self._starting:
            self._raise_if_stopping()
            self._thread = thread = InferenceThread(
                lambda: self._make_pipelines(settings),
                self.cameras,
                self._work,
                settings.max_waiting_prompts,
                right_of_way,
            )
        started = sign_of_life = time.monotonic()
        while (pipelines := thread.wait_until_ready(0.1)) is None:
            now = time.monotonic()
            self._raise_if_stopping()
            if now - sign_of_life > PROGRESS_PERIOD:
                sign_of_life = now
                self.get_logger().info(
                    f"still loading after {now - started:.0f} s: {self._network_status.message}"
                )
        with self._starting:
            self._raise_if_stopping()
            if pipelines[0].prompts.engine.runs_beside:
                self._prompt_thread = PromptThread(settings.max_waiting_prompts, right_of_way)
        for services, pipeline in zip(self._camera_services, pipelines, strict=True):
            services.dispatcher.open(pipeline, thread, self._prompt_thread)
        # What was loaded stays: none of it needs to be searched for garbage between two frames.
        gc.collect()
        gc.freeze()
        give_back_memory()
        return pipelines

    def _make_pipelines(self, settings: Settings) -> list[Pipeline]:
        """Load the network once; the cameras share it."""
        first = self._make_pipeline(settings, self._on_progress)
        return [first, *(first.for_another_camera() for _ in self._camera_services[1:])]

    def _release(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Stop taking images and end the threads, first the one that only uses the pipelines."""
        for camera in self.cameras:
            camera.stop()
        if self._watchdog.alarmed:
            timeout = min(timeout, STALLED_TIMEOUT)
        prompts, network = self._prompt_thread, self._thread
        if prompts is not None and not prompts.close(timeout):
            return False
        for services in self._camera_services:
            services.dispatcher.close()
        if network is not None and not network.close(timeout):
            return False
        self._thread = self._prompt_thread = None
        self._pipelines = ()
        gc.unfreeze()
        if network is not None and not self._stopping.is_set():
            gc.collect()
            give_back_memory()
        return True

    def _leave_behind(self) -> None:
        """Give up threads that do not end; what they hold is freed when they do."""
        prompts, network = self._prompt_thread, self._thread
        for services in self._camera_services:
            services.dispatcher.close()
        if network is not None:
            network.closes_pipelines = prompts is None or prompts.close(0.0)
            network.close(0.0)
        self._thread = self._prompt_thread = None
        self._pipelines = ()
        gc.unfreeze()
        line = "the network does not stop and is left behind: its memory is not given back"
        self._set_network_status(Level.WARN, f"not loaded; {line}")
        self.get_logger().error(f"unconfigured: {line}; restart the process if memory is short")

    def _watched_threads(self) -> list[tuple[Worker, CallQueue]]:
        """Return the threads of the network and of prompts, as far as they have begun to serve."""
        threads = (self._thread if self._pipelines else None, self._prompt_thread)
        return [(thread, thread.calls) for thread in threads if thread is not None]

    def _raise_if_stopping(self) -> None:
        """Raise InterruptedError if the node is to stop."""
        if self._stopping.is_set():
            raise InterruptedError("stopped while loading")

    def _on_progress(self, line: str) -> None:
        self._raise_if_stopping()  # ends the building of an engine, too, which takes minutes
        self._set_network_status(Level.OK, line)
        self.get_logger().info(line)

    def report_error(self, what: str, error: Exception) -> None:
        """Log and report why something could not be done."""
        known = isinstance(error, RuntimeError | ValueError | ModuleNotFoundError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            reason += f"; {remedy_of(error.name)}"
        self._set_network_status(Level.ERROR, f"{what}: {reason}")
        if not known:
            self.get_logger().error(quoted("".join(traceback.format_exception(error))))
        self.get_logger().error(f"{what}: {reason}")
        traceback.clear_frames(error.__traceback__)  # they know what was loaded so far

    def _set_network_status(self, level: Level, message: str, **values: object) -> None:
        self._network_status = Status("network", level, message, values)

    # Live parameters --------------------------------------------------------------------------

    def _check_parameter(self, name: str, value: Value) -> None:
        """Refuse class names that the loaded label set does not have."""
        if name in ("classes", "mask_classes") and self._pipelines:
            from rmpsam_ros.node.parameters.configuration import class_ids

            class_ids(str(value), self._pipelines[0].label_set, name)
