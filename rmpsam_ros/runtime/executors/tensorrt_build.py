"""Builds TensorRT engines from ONNX graphs; one code path for TensorRT 10 and 11.

Networks are strongly typed: the number formats are those written in the graph, nothing is left
to builder flags, which TensorRT 11 no longer has. Functions take the module, ``tensorrt``, as an
argument; ``tensorrt_rtx`` has the same parser and builder and works without a GPU.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, dataclass, field
from queue import SimpleQueue
from types import ModuleType
from typing import Any, TypeAlias

from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.slots import Profile

DEFAULT_WORKSPACE = 2 << 30
"""Bytes for a layer while it runs."""

Progress: TypeAlias = Callable[[str], None]
_REPORT_INTERVAL = 2.0  # seconds between two lines about the same build


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What an engine is built with; part of its key in the cache.

    Attributes:
        profiles: ranges of input shapes; the first that fits an input is used.
        tensor_float_32: whether float32 products may be rounded to 10 bits of mantissa.
        workspace: bytes of device memory that a single layer may use while running.
        level: TensorRT's builder optimisation level, 0 to 5.
    """

    profiles: tuple[Profile, ...]
    tensor_float_32: bool
    workspace: int = DEFAULT_WORKSPACE
    level: int = 3

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        profiles = [
            {name: asdict(shapes) for name, shapes in ranges.items()} for ranges in self.profiles
        ]
        return {
            "profiles": profiles,
            "tensor_float_32": self.tensor_float_32,
            "workspace": self.workspace,
            "level": self.level,
        }


def load_tensorrt() -> ModuleType:
    """Import TensorRT.

    Raises:
        EngineError: it is not installed, or its libraries are missing.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # the bindings alone fail with OSError
        raise EngineError(
            f"TensorRT cannot be imported ({error}); install it from NVIDIA (JetPack, or the "
            "TensorRT packages for this CUDA version), or use engine torch"
        ) from error
    return tensorrt


@dataclass
class Messages:
    """What TensorRT says; errors are kept for the exception.

    Attributes:
        errors: texts of severity error and above, newest last.
    """

    errors: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return the last errors in one line."""
        return " ".join(" | ".join(self.errors[-3:]).split()) or "no reason was given"


def make_logger(trt: ModuleType, messages: Messages) -> Any:
    """Return a TensorRT logger that keeps errors; it must outlive every TensorRT object."""

    class Logger(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            # Called from threads of TensorRT: must not raise.
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                messages.errors.append(message)

    return Logger()


def build_plan(
    trt: ModuleType,
    graph: bytes,
    settings: BuildSettings,
    progress: Progress,
    cancelled: threading.Event,
) -> bytes:
    """Build a serialised engine, which can take minutes.

    The build runs in a thread of its own, so that an interrupt from the keyboard cancels it.

    Args:
        graph: serialised ONNX model in GridSample form.
        progress: called with a line every few seconds, from the calling thread; what it raises
            ends the build and is passed on.
        cancelled: setting it ends the build.

    Raises:
        EngineError: TensorRT refused the graph, the build failed or was cancelled.
    """
    lines: SimpleQueue[str] = SimpleQueue()
    with ThreadPoolExecutor(1, "tensorrt build") as executor:
        future = executor.submit(_build, trt, graph, settings, lines.put, cancelled)
        plan: bytes | None = None
        try:
            while plan is None:
                try:
                    plan = future.result(timeout=0.2)
                except FutureTimeoutError:
                    if future.done():
                        raise
                while not lines.empty():
                    progress(lines.get())
        except BaseException:
            if not future.done():
                cancelled.set()  # and the executor waits until it has ended
            raise
        return plan


def _build(
    trt: ModuleType,
    graph: bytes,
    settings: BuildSettings,
    progress: Progress,
    cancelled: threading.Event,
) -> bytes:
    messages = Messages()
    logger = make_logger(trt, messages)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what the bindings raise where there is no usable GPU
        raise EngineError(f"TensorRT cannot be used: {messages.summary()}") from error
    network = builder.create_network(_network_flags(trt))
    _parse(trt, network, logger, graph)
    config = builder.create_builder_config()
    config.builder_optimization_level = settings.level
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    if not settings.tensor_float_32:
        config.clear_flag(trt.BuilderFlag.TF32)
    monitor = _make_monitor(trt, progress, cancelled)
    config.progress_monitor = monitor
    for shapes in settings.profiles:
        profile = builder.create_optimization_profile()
        for name, allowed in shapes.items():
            profile.set_shape(name, allowed.smallest, allowed.usual, allowed.largest)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if cancelled.is_set():
        raise EngineError("the TensorRT build was cancelled")
    if plan is None:
        raise EngineError(f"the TensorRT build failed: {messages.summary()}")
    return bytes(plan)


def _network_flags(trt: ModuleType) -> int:
    """Strongly typed is an option in TensorRT 10 and the only kind in TensorRT 11."""
    if int(trt.__version__.split(".")[0]) >= 11 or trt.__name__ != "tensorrt":
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _parse(trt: ModuleType, network: Any, logger: Any, graph: bytes) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse(graph):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    reasons = [f"{error.node_name() or 'graph'}: {error.desc()}" for error in errors[:3]]
    raise EngineError(f"TensorRT cannot read the graph: {' | '.join(reasons)}")


def _make_monitor(trt: ModuleType, progress: Progress, cancelled: threading.Event) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined]
        """Reports the outermost phases; called from several threads of TensorRT."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()
            self._steps: dict[str, int] = {}
            self._reported = time.monotonic()

        def phase_start(self, name: str, parent: str | None, count: int) -> None:
            if parent is None:
                with self._lock:
                    self._steps[name] = count

        def step_complete(self, name: str, step: int) -> bool:
            with self._lock:
                count = self._steps.get(name, 0)
                now = time.monotonic()
                due = count > 0 and now >= self._reported + _REPORT_INTERVAL
                if due:
                    self._reported = now
            if due:
                progress(f"building the TensorRT engine: {name}, {100 * (step + 1) // count} %")
            return not cancelled.is_set()

        def phase_finish(self, name: str) -> None:
            with self._lock:
                self._steps.pop(name, None)

    return Monitor()
