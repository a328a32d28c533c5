"""The prompt engines by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from rmpsam_ros.model.sam import PROMPT_MODELS
from rmpsam_ros.prompting.answers import PromptEngine, PromptEngineError
from rmpsam_ros.prompting.config import PromptingConfig
from rmpsam_ros.prompting.sam_prompts import SamPrompts
from rmpsam_ros.runtime import EngineConfig, EngineError
from rmpsam_ros.runtime.sam_load import load_sam_engine
from rmpsam_ros.weights_store import find_weights

PROMPT_ENGINES = ("rmpsam", *PROMPT_MODELS)
"""Names of all prompt engines: the network's own decoder, and the SAM family."""


def load_prompt_engine(
    config: PromptingConfig,
    network: EngineConfig,
    progress: Callable[[str], None] = lambda line: None,
    cancelled: threading.Event | None = None,
) -> PromptEngine | None:
    """Load the prompt engine of a configuration.

    Args:
        network: how the network is executed; device, threads, cache folder and, if it is
            ``torch``, engine are those of the prompt engine, too (see `load_sam_engine`).
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
    if config.engine == "rmpsam":
        if config.weights:
            raise PromptEngineError(
                f"prompt engine 'rmpsam' has no weights of its own, got '{config.weights}'; leave "
                "them empty, or choose another engine"
            )
        return None
    path = _weights(config)
    try:
        engine = load_sam_engine(config.engine, path, network, progress, cancelled)
    except EngineError as error:
        raise PromptEngineError(str(error)) from error
    return SamPrompts(engine)


def _weights(config: PromptingConfig) -> Path:
    if config.weights:
        path = Path(config.weights).expanduser()
        if not path.is_file():
            raise PromptEngineError(f"weights '{path}' of the prompt engine are not a file")
        return path
    found = find_weights(config.engine)
    if found is None:
        raise PromptEngineError(
            f"prompt engine '{config.engine}' needs a file with its weights; in the package are "
            "those of mobile_sam only, and rmpsam weights list tells what can be fetched"
        )
    return found
