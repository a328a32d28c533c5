"""What executes the models of the SAM family in the golden comparison: PyTorch or ONNX Runtime."""

from __future__ import annotations

from typing import Protocol

import torch

from rmpsam_ros.model.sam import ImageEmbedding, PromptModel
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.sam_encoder_graph import first_looks
from rmpsam_ros.runtime.sam_engine import SamEngine, SamFeatures, SamTorchEngine
from rmpsam_ros.runtime.sam_export import export_sam_graph, image_shapes


class Executor(Protocol):
    """Makes engines of models."""

    name: str

    def engine(self, model: PromptModel) -> SamEngine:
        """Return the engine of a model that is ready to be executed."""

    def features(self, model: PromptModel, embedding: ImageEmbedding) -> SamFeatures:
        """Return what the engine would have kept of an image with this embedding."""


class TorchExecutor:
    name = "torch"

    def engine(self, model: PromptModel) -> SamEngine:
        info = EngineInfo("torch", "fp32", "cpu", "model", "weights")
        return SamTorchEngine(model, torch.device("cpu"), info)

    def features(self, model: PromptModel, embedding: ImageEmbedding) -> SamFeatures:
        return SamFeatures(embedding, 0)


class OnnxExecutor:
    name = "onnxruntime"

    def __init__(self) -> None:
        self._last: tuple[PromptModel, SamEngine] | None = None

    def engine(self, model: PromptModel) -> SamEngine:
        if self._last is None or self._last[0] is not model:
            self._last = model, self._made(model)
        return self._last[1]

    def _made(self, model: PromptModel) -> SamEngine:
        from rmpsam_ros.runtime.sam_onnx_engine import SamOnnxEngine

        form = ExportForm("grid_sample")
        encoder, decoder = (
            export_sam_graph(model, part, form).SerializeToString()
            for part in ("encoder", "decoder")
        )
        info = EngineInfo("onnxruntime", "fp32", "cpu", "model", "weights")
        return SamOnnxEngine(encoder, decoder, torch.get_num_threads(), info)

    def features(self, model: PromptModel, embedding: ImageEmbedding) -> SamFeatures:
        from onnxruntime import OrtValue

        tensors = decoder_inputs(model, embedding)
        values = {name: OrtValue.ortvalue_from_numpy(t.numpy()) for name, t in tensors.items()}
        return SamFeatures(values, 0)


def decoder_inputs(model: PromptModel, embedding: ImageEmbedding) -> dict[str, torch.Tensor]:
    """What the exported encoder gives for an embedding: projections of the first layer, too."""
    prompts, shapes = model.prompt_encoder, image_shapes(model)
    cells = (embedding.features + prompts.without_mask()).flatten(2).transpose(1, 2)
    position = prompts.image_position().flatten(2).transpose(1, 2)
    tensors = {"cells": cells}
    heads, depth = shapes["values"][1], shapes["values"][3]
    for name, weight, bias in first_looks(model.mask_decoder):
        x = cells if name == "values" else cells + position
        x = x @ torch.from_numpy(weight).float().T + torch.from_numpy(bias).float()
        x = x.unflatten(2, (heads, depth))
        tensors[name] = x.permute(0, 2, 3, 1) if name == "keys" else x.transpose(1, 2)
    if embedding.high_res is not None:
        tensors["high_res"] = embedding.high_res
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


EXECUTORS: dict[str, type[TorchExecutor] | type[OnnxExecutor]] = {
    "torch": TorchExecutor,
    "onnxruntime": OnnxExecutor,
}
