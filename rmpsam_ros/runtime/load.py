"""From a configuration to a running engine: the fastest one whose results can be trusted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from rmpsam_ros.model.sam import PROMPT_MODELS
from rmpsam_ros.runtime.back_end import back_end, back_ends
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.devices import resolve_device, use_threads
from rmpsam_ros.runtime.engine import Engine, EngineError
from rmpsam_ros.runtime.executor import PRECISIONS, Precision
from rmpsam_ros.runtime.exportable import AgreementT, Exportable
from rmpsam_ros.runtime.factory import REFERENCE, EngineFactory, EngineT
from rmpsam_ros.runtime.graph_store import Surroundings
from rmpsam_ros.runtime.network import EngineConfig, load_network, resolve
from rmpsam_ros.runtime.panoptic_network import PanopticNetwork
from rmpsam_ros.runtime.precision import Agreement
from rmpsam_ros.runtime.sam_engine import SamEngine
from rmpsam_ros.runtime.sam_network import SamNetwork, UnusableWeightsError

Progress = Callable[[str], None]
Candidate = tuple[str, Precision]


def load_engine(
    config: EngineConfig,
    num_classes: int,
    progress: Progress = lambda line: None,
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
    wanted = candidates(config, resolve_device(config.device), is_random=not config.weights)
    factory = make_factory(config, num_classes, progress, cancelled)
    return _first_that_agrees(factory, wanted)


def load_sam_engine(
    name: str,
    weights: Path,
    config: EngineConfig,
    progress: Progress = lambda line: None,
    cancelled: threading.Event | None = None,
) -> SamEngine:
    """Make the engine of a model of the SAM family, or take it from the cache.

    Args:
        name: of `PROMPT_MODELS`.
        weights: a file of `load_prompt_model`.
        config: how the panoptic network is executed: device, threads and cache folder are those
            of this engine, too, and engine and precision where it has them; PyTorch in fp32 is
            behind everything that fails.
        progress, cancelled: as for `load_engine`.

    Raises:
        UnusableWeightsError: the weights cannot be used.
        EngineError: the model or the device cannot be used, or the build was cancelled.
    """
    if name not in PROMPT_MODELS:
        raise EngineError(f"prompt model '{name}' is unknown; use {', '.join(PROMPT_MODELS)}")
    device = resolve_device(config.device)
    network = SamNetwork(name, weights, progress)
    factory = EngineFactory(network, _surroundings(config, device, progress, cancelled))
    wanted = candidates(config, device)
    return _first_that_agrees(factory, [*wanted, (REFERENCE, "fp32")])


def make_factory(
    config: EngineConfig,
    num_classes: int,
    progress: Progress,
    cancelled: threading.Event | None = None,
) -> EngineFactory[Engine, Agreement]:
    """Load the panoptic network of a configuration, for engines to be made of it.

    Raises:
        EngineError: device, threads, model, weights or class table cannot be used.
    """
    if config.num_threads < 0:
        raise EngineError(f"num_threads is {config.num_threads}; use 0 (automatic) or more")
    device = resolve_device(config.device)
    use_threads(config.num_threads)
    config = resolve(config)
    network = PanopticNetwork(load_network(config, num_classes, progress), config)
    return EngineFactory(network, _surroundings(config, device, progress, cancelled))


def available_engines(
    device: torch.device, network: Exportable[EngineT, AgreementT] | None = None
) -> list[Candidate]:
    """Return every engine that is installed for a device, with every precision it has.

    Args:
        network: only those that it has a form for.
    """
    return [
        (name, precision)
        for name, library in back_ends().items()
        if not library.missing_packages()
        for precision in _ordered(library.relative_times(device))
        if precision != "int8" or network is None or network.has_int8
    ]


def candidates(
    config: EngineConfig, device: torch.device, is_random: bool = False
) -> list[Candidate]:
    """Return engines with precisions in the order to try them, fastest first.

    is_random: of random weights the automatic precision is fp32.

    Raises:
        EngineError: engine or precision are unknown, or impossible on this device.
    """
    names = [config.engine]
    if config.engine == "auto":
        names = [name for name, library in back_ends().items() if not library.missing_packages()]
    else:
        _check_engine(config.engine, device)
    times = {
        (name, precision): seconds
        for name in names
        for precision, seconds in back_end(name).relative_times(device).items()
    }
    automatic = {pair: seconds for pair, seconds in times.items() if seconds is not None}
    ordered = sorted(automatic, key=lambda pair: automatic[pair])
    wanted = "fp32" if config.precision == "auto" and is_random else config.precision
    if wanted == "auto":
        return ordered
    return _from_precision_on(list(times), ordered, config, wanted)


def _check_engine(name: str, device: torch.device) -> None:
    """Raise EngineError unless an engine is installed and runs on a device."""
    library = back_end(name)
    if not library.relative_times(device):
        others = [known for known, other in back_ends().items() if other.relative_times(device)]
        raise EngineError(
            f"engine '{name}' does not run on {device.type}; use auto, {', '.join(others)}, or "
            "another device"
        )
    if packages := library.missing_packages():
        raise EngineError(
            f"engine '{name}' needs the Python package {packages}, which is not installed; "
            "install it, or use engine auto"
        )


def _from_precision_on(
    possible: list[Candidate], automatic: list[Candidate], config: EngineConfig, wanted: str
) -> list[Candidate]:
    """Return what has the wanted precision, then what is finer."""
    if wanted not in PRECISIONS:
        raise EngineError(
            f"precision '{wanted}' is unknown; use auto, {', '.join(reversed(PRECISIONS))}"
        )
    in_order = [*automatic, *(pair for pair in possible if pair not in automatic)]
    found = [pair for pair in in_order if pair[1] == wanted]
    if not found:
        names = sorted({precision for _, precision in possible})
        raise EngineError(
            f"engine '{config.engine}' has no precision '{wanted}' here; use auto or one of "
            f"{', '.join(names)}"
        )
    coarseness = PRECISIONS.index(found[0][1])
    return found + [pair for pair in automatic if PRECISIONS.index(pair[1]) > coarseness]


def _first_that_agrees(
    factory: EngineFactory[EngineT, AgreementT], wanted: list[Candidate]
) -> EngineT:
    """Make the first engine that can be made and agrees with fp32 PyTorch."""
    store, name = factory.store, factory.network.name
    failure: Exception | None = None
    for engine, precision in dict.fromkeys(wanted):
        try:
            made = factory.make(engine, precision)
        except UnusableWeightsError:
            raise
        except (EngineError, ImportError) as error:
            if store.cancelled.is_set():
                raise
            failure = error
            reason = " ".join(str(error).split())
            store.progress(f"{name} is not executed by {engine} in {precision}: {reason}")
        else:
            if engine == REFERENCE and (packages := _missing_packages(store.device)):
                store.progress(f"{name} would be faster with the Python packages {packages}")
            return made
    raise EngineError(f"no engine can be used: {failure}")


def _missing_packages(device: torch.device) -> str:
    """Return what none of the faster engines of a device can do without; '' if one is there."""
    others = [
        library.missing_packages()
        for name, library in back_ends().items()
        if name != REFERENCE and library.relative_times(device)
    ]
    return "" if "" in others else ", or ".join(others)


def _ordered(precisions: Collection[Precision]) -> list[Precision]:
    return [precision for precision in PRECISIONS if precision in precisions]


def _surroundings(
    config: EngineConfig,
    device: torch.device,
    progress: Progress,
    cancelled: threading.Event | None,
) -> Surroundings:
    folder = Path(config.cache_folder).expanduser() if config.cache_folder else None
    return Surroundings(
        device,
        EngineCache(folder, progress),
        config.num_threads,
        progress,
        cancelled or threading.Event(),
    )
