"""Parameters of the pipeline that change while the node runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmpsam_ros.node.parameters.declaration import RosParameters

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline
    from rmpsam_ros.segmentation.panoptic import FusionConfig


class LiveThresholds:
    """Carries changed thresholds and limits over to the pipelines."""

    def __init__(self, settings: RosParameters) -> None:
        self._settings = settings
        self._values: tuple[Any, ...] = ()
        self._config: FusionConfig | None = None

    def apply(self, pipeline: Pipeline) -> None:
        """Give a pipeline the present thresholds and limits; runs before every frame."""
        from rmpsam_ros.node.parameters.configuration import LIVE_NAMES, fusion_config

        wanted = (pipeline.label_set.name, *(self._settings[name] for name in LIVE_NAMES))
        if self._config is None or wanted != self._values:
            values = dict(zip(LIVE_NAMES, wanted[1:], strict=True))
            self._config = fusion_config(values, pipeline.label_set)
            self._values = wanted
        pipeline.fusion = self._config
        pipeline.limit_prompts(self._settings["max_prompts"])
