"""The interface through which the models of the SAM family are executed, and PyTorch behind it."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rmpsam_ros.model.sam.prompt_model import (
    MASK_SIZE,
    PROMPTS_AT_ONCE,
    ImageEmbedding,
    PromptModel,
    checked_prompts,
)
from rmpsam_ros.runtime.engine import EngineError, EngineInfo


@dataclass(frozen=True, eq=False, slots=True)
class SamFeatures:
    """What an engine keeps of an image, so that a click costs the decoder only.

    Attributes:
        tensors: the engine's own.
        nbytes: their memory.
    """

    tensors: Any
    nbytes: int


class SamEngine(ABC):
    """Runs a model of the SAM family, one image at a time, from one thread.

    Attributes:
        info: what really runs.
        supports_multimask: whether it offers three masks for an ambiguous prompt.
    """

    info: EngineInfo
    supports_multimask: bool

    @abstractmethod
    def encode(self, image: Tensor) -> SamFeatures:
        """Encode an image [1, 3, 1024, 1024], float32, from `transforms.preprocess`.

        Raises:
            EngineError: execution failed.
        """

    @abstractmethod
    def decode(
        self,
        features: SamFeatures,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Do what `PromptModel.decode` does; the prompts are on the CPU, the answers anywhere.

        Raises:
            ValueError: the prompts are not acceptable.
            EngineError: execution failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back memory; the engine is not used afterwards."""


class SamTorchEngine(SamEngine):
    """Eager PyTorch in fp32, on a CPU or a CUDA device: the reference."""

    def __init__(self, model: PromptModel, device: torch.device, info: EngineInfo) -> None:
        self.info = info
        self.supports_multimask = model.supports_multimask
        self._device = device
        self._model = model.to(device).eval()

    @torch.inference_mode()
    def encode(self, image: Tensor) -> SamFeatures:
        with _device_errors():
            embedding = self._model.encode(image.to(self._device))
        tensors = [tensor for tensor in embedding if tensor is not None]
        return SamFeatures(embedding, sum(one.numel() * one.element_size() for one in tensors))

    @torch.inference_mode()
    def decode(
        self,
        features: SamFeatures,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        embedding: ImageEmbedding = features.tensors
        points, labels = self._moved(points), self._moved(labels)
        boxes, mask_input = self._moved(boxes), self._moved(mask_input)
        with _device_errors():
            return self._model.decode(embedding, points, labels, boxes, mask_input, multimask)

    def close(self) -> None:
        self._model.to("cpu")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _moved(self, tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.to(self._device)


class SamGraphEngine(SamEngine):
    """What engines of exported graphs share: checks, and prompts in portions."""

    @abstractmethod
    def run_decoder(
        self, features: SamFeatures, prompts: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Execute the decoder of `sam_export` and return all masks and IoU of its prompts.

        prompts: points, labels, mask_input and has_mask, float32, of at most PROMPTS_AT_ONCE.
        """

    @torch.inference_mode()
    def decode(
        self,
        features: SamFeatures,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        points, labels = checked_prompts(
            points, labels, boxes, mask_input, multimask, self.supports_multimask
        )
        chosen = slice(1, None) if multimask else slice(0, 1)
        logits, iou = [], []
        for start in range(0, len(points), PROMPTS_AT_ONCE):
            part = slice(start, start + PROMPTS_AT_ONCE)
            count = len(points[part])
            no_masks = torch.zeros(count, 1, MASK_SIZE, MASK_SIZE)
            prompts = {
                "points": points[part].float(),
                "labels": labels[part].float(),
                "mask_input": no_masks if mask_input is None else mask_input[part].float(),
                "has_mask": torch.full((count,), float(mask_input is not None)),
            }
            all_logits, all_iou = self.run_decoder(features, prompts)
            logits.append(all_logits[:, chosen])
            iou.append(all_iou[:, chosen])
        return torch.cat(logits), torch.cat(iou)


@contextlib.contextmanager
def _device_errors() -> Iterator[None]:
    """Turn errors of a GPU, out of memory among them, into EngineError."""
    try:
        yield
    except RuntimeError as error:
        raise EngineError(f"PyTorch failed: {' '.join(str(error).split())}") from error
