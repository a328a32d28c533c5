"""Parameters of the pipeline that change while the node runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmpsam_ros.node.parameters.settings import LiveSettings, Settings

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline
    from rmpsam_ros.segmentation.labels import LabelSet
    from rmpsam_ros.segmentation.panoptic import FusionConfig


class LiveThresholds:
    """Carries changed thresholds and limits over to the pipelines."""

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._made_from: tuple[Settings, LabelSet] | None = None
        self._config: FusionConfig | None = None

    def apply(self, pipeline: Pipeline) -> None:
        """Give a pipeline the present thresholds and limits; runs before every frame."""
        from rmpsam_ros.node.parameters.configuration import fusion_config

        settings, labels = self._settings.current, pipeline.label_set
        known = self._made_from
        if self._config is None or known is None or known[0] is not settings or known[1] != labels:
            self._config = fusion_config(settings, labels)
            self._made_from = (settings, labels)
        pipeline.fusion = self._config
        pipeline.prompts.limit(settings.max_prompts)
