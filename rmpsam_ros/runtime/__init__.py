"""Executes the network behind one interface; who uses it need not know what executes it."""

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
