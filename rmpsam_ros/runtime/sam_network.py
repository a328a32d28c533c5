"""Models of the SAM family as the runtime makes engines of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import rmpsam_ros
from rmpsam_ros.export import export_graph, exporter_key
from rmpsam_ros.export.forms import ExportForm, GraphPart
from rmpsam_ros.model.inference_form import InferenceForm
from rmpsam_ros.model.sam import CheckpointError, PromptModel, load_prompt_model
from rmpsam_ros.model.sam.prompt_model import PROMPTS_AT_ONCE
from rmpsam_ros.runtime.engine import EngineError, EngineInfo
from rmpsam_ros.runtime.executor import Executor
from rmpsam_ros.runtime.exportable import Exportable, PartShapes
from rmpsam_ros.runtime.sam_engine import SamEngine
from rmpsam_ros.runtime.sam_precision import SamAgreement, compare_sam, sam_shortcomings
from rmpsam_ros.runtime.slots import Axes
from rmpsam_ros.weights_store import WeightsError
from rmpsam_ros.weights_store.fetch import sha256_of
from rmpsam_ros.weights_store.verify import licence_of, verify_listed

CHECK_FRAMES = 2

MAX_TOKENS = 48
"""Points of one prompt, padding and corners of boxes included; the node allows fewer."""


class UnusableWeightsError(EngineError):
    """The weights cannot be used, by no engine."""


class SamNetwork(Exportable[SamEngine, SamAgreement]):
    """A model of the SAM family with a file of weights, which is read when it is first needed."""

    parts = ("encoder", "decoder")
    seldom = frozenset({"encoder"})
    runs_beside = True

    def __init__(self, name: str, path: Path, progress: Callable[[str], None]) -> None:
        """Name a model of `PROMPT_MODELS` and its weights; reads nothing yet."""
        self.name = name
        self.weights = path.name
        self.licence = licence_of(path)
        self._path = path
        self._progress = progress

    @cached_property
    def model(self) -> PromptModel:
        """The model in PyTorch: an engine in the cache does without it."""
        self._progress(f"loading {self.name} with weights {self.weights}")
        try:
            return load_prompt_model(self.name, self._path)
        except (CheckpointError, OSError) as error:
            raise UnusableWeightsError(" ".join(str(error).split())) from error

    @cached_property
    def key(self) -> dict[str, Any]:
        try:
            verify_listed(self._path)
            weights = sha256_of(self._path)
        except WeightsError as error:
            raise UnusableWeightsError(str(error)) from error
        return {
            "model": self.name,
            "weights": weights,
            "rmpsam_ros": rmpsam_ros.__version__,
            **exporter_key(),
        }

    def form(self, compute: torch.dtype) -> InferenceForm:
        return self.model.inference_form(compute)

    def export(self, part: GraphPart, form: ExportForm) -> bytes:
        model = self.model
        try:
            return bytes(export_graph(model, part, form).SerializeToString())
        except ValueError as error:
            raise EngineError(f"it cannot be exported: {error}") from error

    def axes(self, part: GraphPart) -> tuple[Axes, ...]:
        return ({"prompts": (1, 1, PROMPTS_AT_ONCE), "points": (2, 2, MAX_TOKENS)},)

    def engine(
        self, executor: Executor, info: EngineInfo, shapes: Callable[[], PartShapes]
    ) -> SamEngine:
        _, num_masks = shapes()["decoder"]["outputs"]["iou"]
        return SamEngine(executor, info, int(num_masks))

    def compare(self, engine: SamEngine, reference: SamEngine) -> SamAgreement:
        return compare_sam(engine, reference, CHECK_FRAMES)

    def agreement(self, values: Mapping[str, Any]) -> SamAgreement:
        return SamAgreement(**values)

    def shortcomings(self, agreement: SamAgreement, precision: str) -> str:
        return sam_shortcomings(agreement, precision)
