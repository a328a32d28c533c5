"""From a configuration to a running engine: the fastest one whose results can be trusted."""

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path

import torch

from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.cpu import has_fast_int8
from rmpsam_ros.runtime.engine import Engine, EngineError
from rmpsam_ros.runtime.factory import EngineFactory, Precision
from rmpsam_ros.runtime.network import EngineConfig, load_network, resolve
from rmpsam_ros.runtime.torch_engine import resolve_device

# Fastest first; behind what fails, its results or its libraries, comes the next.
PRECISIONS: dict[str, dict[str, tuple[Precision, ...]]] = {
    "cpu": {
        "onnxruntime": ("int8", "fp32"),
        "openvino": ("int8", "bf16", "fp32"),
        "torch": ("fp32",),
    },
    "cuda": {
        "tensorrt": ("int8", "fp16", "bf16", "fp32"),
        "torch": ("fp16", "bf16", "fp32"),
    },
}
AUTOMATIC: dict[str, tuple[tuple[str, Precision], ...]] = {
    "cpu": (
        ("onnxruntime", "int8"),
        ("openvino", "bf16"),
        ("onnxruntime", "fp32"),
        ("torch", "fp32"),
    ),
    "cuda": (
        ("tensorrt", "fp16"),
        ("tensorrt", "bf16"),
        ("tensorrt", "fp32"),
        ("torch", "fp16"),
        ("torch", "fp32"),
    ),
}
PACKAGES = {
    "torch": (),
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "tensorrt": ("onnx", "tensorrt"),
}


def load_engine(
    config: EngineConfig,
    num_classes: int,
    progress: Callable[[str], None] = lambda line: None,
    cancelled: threading.Event | None = None,
) -> Engine:
    """Build the network, and the engine that executes it, or take the engine from the cache.

    Args:
        num_classes: C, classes of the label set that the results are named by.
        progress: called with one line before every step that takes longer than a moment, and
            about everything that was not possible.
        cancelled: setting it, from another thread, ends a build that takes minutes.

    Raises:
        EngineError: anything of the configuration cannot be used; one line says what and why.
    """
    config = resolve(config)
    candidates = _candidates(config, resolve_device(config.device))
    factory = make_factory(config, num_classes, progress, cancelled or threading.Event())
    failure: EngineError | None = None
    for engine, precision in candidates:
        try:
            return factory.make(engine, precision)
        except EngineError as error:
            if cancelled and cancelled.is_set():
                raise
            failure = error
            progress(f"{engine} in {precision} is not used: {error}")
    raise EngineError(f"no engine can be used: {failure}")


def make_factory(
    config: EngineConfig,
    num_classes: int,
    progress: Callable[[str], None],
    cancelled: threading.Event,
) -> EngineFactory:
    """Load the network of a configuration, for engines to be made of it.

    Raises:
        EngineError: device, threads, model, weights or class table cannot be used.
    """
    if config.num_threads < 0:
        raise EngineError(f"num_threads is {config.num_threads}; use 0 (automatic) or more")
    device = resolve_device(config.device)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    config = resolve(config)
    model = load_network(config, num_classes, progress)
    folder = Path(config.cache_folder).expanduser() if config.cache_folder else None
    cache = EngineCache(folder, progress)
    return EngineFactory(model, config, device, cache, progress, cancelled)


def available_engines(device: torch.device) -> list[tuple[str, Precision]]:
    """Return every engine that is installed for a device, with every precision it has."""
    return [
        (engine, precision)
        for engine, precisions in PRECISIONS[device.type].items()
        if not _missing_packages(engine)
        for precision in precisions
    ]


def _candidates(config: EngineConfig, device: torch.device) -> list[tuple[str, Precision]]:
    """Return engines with precisions in the order to try them."""
    engines = PRECISIONS[device.type]
    known = sorted({name for kinds in PRECISIONS.values() for name in kinds})
    if config.engine not in ("auto", *known):
        raise EngineError(f"engine '{config.engine}' is unknown; use auto, {', '.join(known)}")
    if config.engine == "auto":
        missing = {name for name in engines if _missing_packages(name)}
        candidates = [pair for pair in AUTOMATIC[device.type] if pair[0] not in missing]
        if device.type == "cpu" and not has_fast_int8():
            candidates = [pair for pair in candidates if pair[1] != "int8"]
    else:
        if config.engine not in engines:
            raise EngineError(
                f"engine '{config.engine}' does not run on {device.type}; use auto, "
                f"{', '.join(engines)}, or another device"
            )
        if packages := _missing_packages(config.engine):
            raise EngineError(
                f"engine '{config.engine}' needs the Python package {packages}, which is not "
                "installed; install it, or use engine auto"
            )
        candidates = [(config.engine, precision) for precision in engines[config.engine]]
    return _from_precision_on(candidates, config)


def _from_precision_on(
    candidates: list[tuple[str, Precision]], config: EngineConfig
) -> list[tuple[str, Precision]]:
    """Drop what comes before the wanted precision."""
    wanted = config.precision
    if wanted == "auto":
        if not config.weights:
            wanted = "fp32"
        else:
            return candidates
    order = ("int8", "fp16", "bf16", "fp32")
    if wanted not in order:
        raise EngineError(
            f"precision '{wanted}' is unknown; use auto, {', '.join(reversed(order))}"
        )
    found = [pair for pair in candidates if pair[1] == wanted]
    if not found:
        possible = sorted({precision for _, precision in candidates})
        raise EngineError(
            f"engine '{config.engine}' has no precision '{wanted}' here; use auto or one of "
            f"{', '.join(possible)}"
        )
    better = [pair for pair in candidates if order.index(pair[1]) > order.index(wanted)]
    return found + better


def _missing_packages(engine: str) -> str:
    missing = [name for name in PACKAGES[engine] if importlib.util.find_spec(name) is None]
    return " and ".join(missing)
