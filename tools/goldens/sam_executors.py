"""What executes the models of the SAM family in the golden comparison: PyTorch or ONNX Runtime."""

from __future__ import annotations

from typing import Protocol

import torch

from rmpsam_ros.export import export_graph
from rmpsam_ros.model.inference_form import InferenceForm
from rmpsam_ros.model.sam import ImageEmbedding, PromptModel
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.executor import Executor as RuntimeExecutor
from rmpsam_ros.runtime.executors.onnxruntime_executor import OnnxRuntime, OnnxRuntimeExecutor
from rmpsam_ros.runtime.executors.torch_executor import TorchExecutor as EagerExecutor
from rmpsam_ros.runtime.sam_engine import SamEngine, SamFeatures


class Executor(Protocol):
    """Makes engines of models."""

    name: str

    def engine(self, model: PromptModel) -> SamEngine:
        """Return the engine of a model that is ready to be executed."""

    def features(self, model: PromptModel, embedding: ImageEmbedding) -> SamFeatures:
        """Return what the engine would have kept of an image with this embedding."""


class TorchExecutor:
    name = "torch"

    def __init__(self) -> None:
        self._last: tuple[PromptModel, InferenceForm, SamEngine] | None = None

    def engine(self, model: PromptModel) -> SamEngine:
        return self._made(model)[1]

    def features(self, model: PromptModel, embedding: ImageEmbedding) -> SamFeatures:
        form, _ = self._made(model)
        return SamFeatures(decoder_inputs(form, embedding))

    def executor(self, model: PromptModel, form: InferenceForm) -> RuntimeExecutor:
        """Return what executes a model."""
        return EagerExecutor({part: form.part(part) for part in form.parts}, torch.device("cpu"))

    def _made(self, model: PromptModel) -> tuple[InferenceForm, SamEngine]:
        if self._last is None or self._last[0] is not model:
            form = model.inference_form()
            info = EngineInfo(self.name, "fp32", "cpu", "model", "weights")
            masks = model.mask_decoder.num_masks
            self._last = model, form, SamEngine(self.executor(model, form), info, masks)
        return self._last[1:]


class OnnxExecutor(TorchExecutor):
    name = "onnxruntime"

    def executor(self, model: PromptModel, form: InferenceForm) -> RuntimeExecutor:
        graphs = {
            part: export_graph(model, part, OnnxRuntime.forms["fp32"]).SerializeToString()
            for part in form.parts
        }
        return OnnxRuntimeExecutor(graphs, torch.get_num_threads(), seldom=("encoder",))


def decoder_inputs(form: InferenceForm, embedding: ImageEmbedding) -> dict[str, torch.Tensor]:
    """What the encoder gives for an embedding: projections of the first layer, too."""
    network = form.network
    with torch.inference_mode():
        cells = embedding.features.flatten(2).transpose(1, 2) + network.no_mask
        tensors = [cells, *network.decoder.transformer.layers[0].looks(cells, None)]
    if embedding.high_res is not None:
        tensors.append(embedding.high_res)
    names = form.part("encoder").output_names
    return {name: tensor.contiguous() for name, tensor in zip(names, tensors, strict=True)}


EXECUTORS: dict[str, type[TorchExecutor]] = {
    "torch": TorchExecutor,
    "onnxruntime": OnnxExecutor,
}
