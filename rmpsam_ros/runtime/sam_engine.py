"""A model of the SAM family on any executor: prompts are checked, and decoded in portions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rmpsam_ros.model.sam.prompt_model import (
    IMAGE_SIZE,
    MASK_SIZE,
    PROMPTS_AT_ONCE,
    checked_prompts,
)
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.executor import Executor


@dataclass(frozen=True, eq=False, slots=True)
class SamFeatures:
    """What an engine keeps of an image, so that a click costs the decoder only.

    Attributes:
        tensors: inputs of the decoder by name, where the executor has them.
    """

    tensors: Mapping[str, Tensor]

    @property
    def nbytes(self) -> int:
        """Their memory."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class SamEngine:
    """Runs a model of the SAM family, one image at a time, from one thread.

    Attributes:
        info: what really runs.
        supports_multimask: whether it offers three masks for an ambiguous prompt.
    """

    info: EngineInfo
    supports_multimask: bool

    def __init__(self, executor: Executor, info: EngineInfo, num_masks: int) -> None:
        """Take over an executor of the parts ``encoder`` and ``decoder``.

        num_masks: M of the decoder: the single mask, then those of an ambiguous prompt.
        """
        self.info = info
        self.supports_multimask = num_masks > 1
        self._executor = executor

    def encode(self, image: Tensor) -> SamFeatures:
        """Encode an image [1, 3, 1024, 1024], float32, from `transforms.preprocess`.

        Raises:
            ValueError: the image has another shape.
            EngineError: execution failed.
        """
        if image.shape != (1, 3, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"an image is [1, 3, {IMAGE_SIZE}, {IMAGE_SIZE}], got {list(image.shape)}; use "
                "transforms.preprocess"
            )
        return SamFeatures(self._executor.run("encoder", {"image": image}))

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
        """Do what `PromptModel.decode` does; the prompts are on the CPU, the answers anywhere.

        Args:
            features: of one image, from `encode`.
            points: [K, P, 2] as x, y, or None.
            labels: [K, P], or None.
            boxes: [K, 4] as x0, y0, x1, y1, or None.
            mask_input: [K, 1, 256, 256], logits of an earlier round, or None.
            multimask: three masks per prompt.

        Returns:
            Logits [K, M, 256, 256] and predicted IoU [K, M], M 1 or 3.

        Raises:
            ValueError: the prompts are not acceptable.
            EngineError: execution failed.
        """
        points, labels = checked_prompts(
            points, labels, boxes, mask_input, multimask, self.supports_multimask
        )
        chosen = slice(1, None) if multimask else slice(0, 1)
        logits, iou = [], []
        for start in range(0, len(points), PROMPTS_AT_ONCE):
            part = slice(start, start + PROMPTS_AT_ONCE)
            count = len(points[part])
            no_masks = torch.zeros(count, 1, MASK_SIZE, MASK_SIZE)
            inputs = {
                **features.tensors,
                "points": points[part].float(),
                "labels": labels[part].float(),
                "mask_input": no_masks if mask_input is None else mask_input[part].float(),
                "has_mask": torch.full((count,), float(mask_input is not None)),
            }
            outputs = self._executor.run("decoder", inputs, rare=count > 1)
            logits.append(outputs["logits"][:, chosen])
            iou.append(outputs["iou"][:, chosen])
        return torch.cat(logits), torch.cat(iou)

    def close(self) -> None:
        """Give back memory; the engine is not used afterwards."""
        self._executor.close()
