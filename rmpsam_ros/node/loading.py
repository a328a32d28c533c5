"""From settings to the pipeline of the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rmpsam_ros.node.parameters.settings import Settings

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline

Progress = Callable[[str], None]
PipelineFactory = Callable[[Settings, Progress], "Pipeline"]


def make_pipeline(settings: Settings, progress: Progress) -> Pipeline:
    """Make the pipeline that the settings describe."""
    # Importing PyTorch takes seconds; by now the node is up and can say what it is doing.
    progress("loading PyTorch")
    from rmpsam_ros.node.parameters.configuration import (
        class_ids,
        fusion_config,
        pipeline_config,
    )
    from rmpsam_ros.pipeline import create_pipeline

    pipeline = create_pipeline(pipeline_config(settings), progress)
    pipeline.fusion = fusion_config(settings, pipeline.label_set)
    class_ids(settings.mask_classes, pipeline.label_set, "mask_classes")
    return pipeline
