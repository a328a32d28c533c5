"""The panoptic network as the runtime makes engines of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import rmpsam_ros
from rmpsam_ros.export import export_graph, exporter_key, has_int8
from rmpsam_ros.export.forms import ExportForm, GraphPart
from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.inference_form import InferenceForm
from rmpsam_ros.runtime.engine import Engine, EngineError, EngineInfo
from rmpsam_ros.runtime.executor import Executor
from rmpsam_ros.runtime.exportable import Exportable, PartShapes
from rmpsam_ros.runtime.network import EngineConfig, network_digest
from rmpsam_ros.runtime.panoptic_engine import PanopticEngine
from rmpsam_ros.runtime.precision import (
    Agreement,
    Remembered,
    compare,
    preprocessed_frames,
    shortcomings,
)
from rmpsam_ros.runtime.slots import BATCH_SLOTS, PROMPT_SLOTS, Axes
from rmpsam_ros.weights_store.verify import licence_of

CALIBRATION_FRAMES = 6
CHECK_FRAMES = 4  # others than those

MAX_SIDE = 1344
"""Largest height and width of the network input, pixels, where ranges are built."""


class PanopticNetwork(Exportable[Engine, Agreement]):
    """`RmpSam` with weights and class table."""

    stages: Mapping[GraphPart, tuple[GraphPart, ...]] = {"frame": ("encoder", "decoder")}

    def __init__(self, model: RmpSam, config: EngineConfig) -> None:
        """Take a network that stays as it is; ``config`` is one of `network.resolve`."""
        self.model = model
        self.name = config.model
        self.weights = config.weights_name
        self.parts = ("frame", "prompt_decoder")
        if config.clip_frames > 1:
            self.parts += ("tube_decoder",)
        self.licence = licence_of(Path(config.weights)) if config.weights else ""
        self.is_random = not config.weights
        self.has_int8 = has_int8(model)
        self._clip_frames = config.clip_frames
        self._expected: Remembered | None = None

    @cached_property
    def key(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "weights": network_digest(self.model),
            "rmpsam_ros": rmpsam_ros.__version__,
            **exporter_key(),
        }

    def form(self, compute: torch.dtype) -> InferenceForm:
        return self.model.inference_form(compute)

    def export(self, part: GraphPart, form: ExportForm) -> bytes:
        frames = None
        if form.quantization != "none":
            frames = [image for image, _ in preprocessed_frames(CALIBRATION_FRAMES)]
        try:
            return bytes(export_graph(self.model, part, form, frames).SerializeToString())
        except ValueError as error:
            raise EngineError(f"the network cannot be exported: {error}") from error

    def axes(self, part: GraphPart) -> tuple[Axes, ...]:
        """Frames: around 640x480 and up to the largest size.

        Batches have the first ranges only: four images of their size need as much memory as one
        of the largest.
        """
        prompts = (PROMPT_SLOTS[0], PROMPT_SLOTS[0], PROMPT_SLOTS[-1])
        side = MAX_SIDE // 4
        if part in ("frame", "encoder"):
            return tuple(
                {
                    "batch": (1, 1, batch),
                    "height": (32, usual[0], limit),
                    "width": (32, usual[1], limit),
                    "prompts": prompts,
                }
                for usual, limit, batch in (
                    ((480, 640), 640, BATCH_SLOTS[-1]),
                    ((800, 1344), MAX_SIDE, 1),
                )
            )
        return (
            {
                "batch": (1, 1, 1),
                "frames": (1, self._clip_frames, self._clip_frames),
                "mask_height": (8, 120, side),
                "mask_width": (8, 160, side),
                "prompts": prompts,
            },
        )

    def engine(
        self, executor: Executor, info: EngineInfo, shapes: Callable[[], PartShapes]
    ) -> Engine:
        return PanopticEngine(executor, info)

    def info(self, engine: str, precision: str, device: str) -> EngineInfo:
        found = super().info(engine, precision, device)
        return replace(found, padded_boxes=self.model.anchored)

    def compare(self, engine: Engine, reference: Engine) -> Agreement:
        if self._expected is None:
            self._expected = Remembered(reference)
        frames = preprocessed_frames(CHECK_FRAMES, first=CALIBRATION_FRAMES)
        return compare(engine, self._expected, frames)

    def agreement(self, values: Mapping[str, Any]) -> Agreement:
        return Agreement(**values)

    def shortcomings(self, agreement: Agreement, precision: str) -> str:
        return shortcomings(agreement, precision)
