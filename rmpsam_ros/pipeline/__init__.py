"""A frame in, a result out: the whole product without ROS.

Examples:
    >>> import numpy as np
    >>> from rmpsam_ros.pipeline import PipelineConfig, PromptingConfig, create_pipeline
    >>> from rmpsam_ros.runtime import EngineConfig
    >>> network = EngineConfig(weights="demo", engine="torch", device="cpu")
    >>> config = PipelineConfig(
    ...     network=network, prompting=PromptingConfig("rmpsam"), long_side=96, short_side=64
    ... )
    >>> pipeline = create_pipeline(config)
    >>> result = pipeline.process(np.zeros((48, 64, 3), np.uint8), stamp=0.0)
    >>> result.panoptic.size, sum(result.run_lengths.tolist()) == 48 * 64
    ((48, 64), True)
    >>> pipeline.semantic_map(result).shape
    (48, 64)
    >>> pipeline.close()
"""

from rmpsam_ros.pipeline.config import PipelineConfig, PipelineError
from rmpsam_ros.pipeline.create import create_pipeline
from rmpsam_ros.pipeline.pipeline import PendingFrame, Pipeline
from rmpsam_ros.pipeline.results import FrameResult, StageTimes
from rmpsam_ros.prompting import (
    FrameNotKeptError,
    NoFrameError,
    PromptedMask,
    PromptedObject,
    PromptingConfig,
    PromptState,
    TooManyPromptsError,
)

__all__ = [
    "FrameNotKeptError",
    "FrameResult",
    "NoFrameError",
    "PendingFrame",
    "Pipeline",
    "PipelineConfig",
    "PipelineError",
    "PromptState",
    "PromptedMask",
    "PromptedObject",
    "PromptingConfig",
    "StageTimes",
    "TooManyPromptsError",
    "create_pipeline",
]
