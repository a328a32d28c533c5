"""The table of the prompt engines, and how one of them is loaded by its name."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable
from typing import Protocol

from rmpsam_ros.prompting.answers import PromptEngine, PromptEngineError
from rmpsam_ros.prompting.config import PromptingConfig
from rmpsam_ros.runtime import EngineConfig, EngineError

Progress = Callable[[str], None]


class Loader(Protocol):
    """Makes a prompt engine; arguments, result and errors are those of `load_prompt_engine`."""

    def __call__(
        self,
        config: PromptingConfig,
        network: EngineConfig,
        progress: Progress,
        cancelled: threading.Event | None,
    ) -> PromptEngine | None:
        """See `load_prompt_engine`."""
        ...


PROMPT_ENGINES: dict[str, Loader] = {}
"""All prompt engines by name: the network's own decoder, the SAM family."""


def register(name: str) -> Callable[[Loader], Loader]:
    """Return a decorator: add what loads a prompt engine to the table."""

    def add(loader: Loader) -> Loader:
        PROMPT_ENGINES[name] = loader
        return loader

    return add


def load_prompt_engine(
    config: PromptingConfig,
    network: EngineConfig,
    progress: Progress = lambda line: None,
    cancelled: threading.Event | None = None,
) -> PromptEngine | None:
    """Load the prompt engine of a configuration.

    Args:
        network: how the network is executed; device, threads, cache folder, engine and precision
            are those of the prompt engine, too, as far as it has them.
        progress: called with one line before every step that takes longer than a moment, and
            about every faster engine that cannot be used.
        cancelled: setting it, from another thread, ends a build that takes minutes.

    Returns:
        The engine; None for ``rmpsam``, which is a `SharedDecoder` of the network.

    Raises:
        PromptEngineError: the engine or its weights cannot be used; one line says why.
    """
    if config.engine not in PROMPT_ENGINES:
        raise PromptEngineError(
            f"prompt engine '{config.engine}' is unknown; use one of {', '.join(PROMPT_ENGINES)}"
        )
    try:
        return PROMPT_ENGINES[config.engine](config, network, progress, cancelled)
    except EngineError as error:
        raise PromptEngineError(str(error)) from error


def import_engines() -> None:
    """Import every file of `rmpsam_ros.prompting.engines`, which fills the table."""
    from rmpsam_ros.prompting import engines

    for module in pkgutil.iter_modules(engines.__path__, f"{engines.__name__}."):
        importlib.import_module(module.name)
