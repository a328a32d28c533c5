"""Executes the models of the SAM family with ONNX Runtime on a CPU."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from onnxruntime import OrtValue
from torch import Tensor

from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.onnx_engine import execute, make_session
from rmpsam_ros.runtime.priority import yield_to_frames
from rmpsam_ros.runtime.sam_engine import SamFeatures, SamGraphEngine


class SamOnnxEngine(SamGraphEngine):
    """ONNX Runtime on a CPU; what it keeps of an image is never copied."""

    def __init__(self, encoder: bytes, decoder: bytes, num_threads: int, info: EngineInfo) -> None:
        """Load the serialised graphs of `sam_export`, in fp32.

        Args:
            num_threads: 0: one per core.

        Raises:
            EngineError: ONNX Runtime does not accept a graph.
        """
        self.info = info
        # What is kept of an image must not hold the memory it was computed in: the encoder keeps
        # none between runs, which costs a tenth of its time. For clicks it would be a third.
        # The threads of a session have the priority of the one that made it.
        with ThreadPoolExecutor(1, initializer=yield_to_frames) as maker:
            self._encoder = maker.submit(make_session, encoder, num_threads, False).result()
            self._decoder = maker.submit(make_session, decoder, num_threads).result()
        (masks,) = (
            output.shape[1] for output in self._decoder.get_outputs() if output.name == "iou"
        )
        self.supports_multimask = masks > 1

    def encode(self, image: Tensor) -> SamFeatures:
        outputs = execute(self._encoder, {"image": _ort_value(image)})
        return SamFeatures(outputs, sum(4 * int(np.prod(one.shape())) for one in outputs.values()))

    def run_decoder(
        self, features: SamFeatures, prompts: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        inputs = {name: _ort_value(tensor) for name, tensor in prompts.items()}
        several = len(prompts["points"]) > 1
        outputs = execute(self._decoder, {**features.tensors, **inputs}, release_memory=several)
        return _tensor(outputs["logits"]), _tensor(outputs["iou"])

    def close(self) -> None:
        del self._encoder, self._decoder


def _ort_value(tensor: Tensor) -> OrtValue:
    return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(tensor.numpy()))


def _tensor(value: OrtValue) -> Tensor:
    return torch.from_numpy(value.numpy())
