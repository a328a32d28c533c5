"""A frame in, a result out: the whole product without ROS."""

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

PromptResult = PromptedMask  # what a request is answered with

__all__ = [
    "FrameNotKeptError",
    "FrameResult",
    "NoFrameError",
    "PendingFrame",
    "Pipeline",
    "PipelineConfig",
    "PipelineError",
    "PromptResult",
    "PromptState",
    "PromptedMask",
    "PromptedObject",
    "PromptingConfig",
    "StageTimes",
    "TooManyPromptsError",
    "create_pipeline",
]
