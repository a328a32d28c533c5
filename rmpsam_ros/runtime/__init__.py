"""Executes the network behind one interface; who uses it need not know what executes it.

Examples:
    >>> from rmpsam_ros.runtime import EngineConfig, EngineError, load_engine
    >>> engine = load_engine(EngineConfig(weights="random", engine="torch", device="cpu"), 5)
    >>> engine.info.precision
    'fp32'
    >>> engine.close()
    >>> try:
    ...     load_engine(EngineConfig(weights="random", engine="abacus"), num_classes=5)
    ... except EngineError as error:
    ...     print(error)
    engine 'abacus' is unknown; use auto, ...
"""

from rmpsam_ros import telemetry
from rmpsam_ros.runtime.engine import (
    Engine,
    EngineError,
    EngineInfo,
    FrameOutput,
    ObjectOutput,
    PromptOutput,
)
from rmpsam_ros.runtime.load import load_engine
from rmpsam_ros.runtime.network import EngineConfig

__all__ = [
    "Engine",
    "EngineConfig",
    "EngineError",
    "EngineInfo",
    "FrameOutput",
    "ObjectOutput",
    "PromptOutput",
    "load_engine",
]

telemetry.switch_off()  # the libraries are imported when they are used
