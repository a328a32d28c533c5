"""Executes the models of the SAM family with TensorRT."""

from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor

from rmpsam_ros.model.sam.prompt_model import IMAGE_SIZE, MASK_SIZE, PROMPTS_AT_ONCE
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.export_form import GraphPart
from rmpsam_ros.runtime.gpu_engine import Tensors
from rmpsam_ros.runtime.sam_engine import SamFeatures, SamGraphEngine
from rmpsam_ros.runtime.tensorrt_build import Profile, ShapeRange
from rmpsam_ros.runtime.tensorrt_engine import TensorRTEngine

MAX_TOKENS = 48
"""Points of one prompt, padding and corners of boxes included; the node allows fewer."""


class SamTensorRTEngine(SamGraphEngine):
    """TensorRT with a captured CUDA graph for every number of prompts and points in use."""

    def __init__(
        self,
        trt: ModuleType,
        plans: Mapping[GraphPart, bytes],
        profiles: Mapping[GraphPart, tuple[Profile, ...]],
        num_masks: int,
        device: torch.device,
        info: EngineInfo,
    ) -> None:
        """Load plans that were built with ``profiles`` from `sam_profiles`.

        Args:
            num_masks: M of the decoder's graph.

        Raises:
            PlanRefusedError: TensorRT refuses a plan: it is for another version or GPU.
        """
        self.info = info
        self.supports_multimask = num_masks > 1
        self._graphs = _Graphs(trt, plans, profiles, device, info)

    @torch.inference_mode()
    def encode(self, image: Tensor) -> SamFeatures:
        outputs = self._graphs.execute("encoder", image=image)
        tensors = {name: tensor.clone() for name, tensor in outputs.items()}
        return SamFeatures(tensors, sum(4 * tensor.numel() for tensor in tensors.values()))

    def run_decoder(
        self, features: SamFeatures, prompts: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        outputs = self._graphs.execute("decoder", **features.tensors, **prompts)
        return outputs["logits"].clone(), outputs["iou"].clone()

    def close(self) -> None:
        self._graphs.close()


class _Graphs(TensorRTEngine):
    """Lanes of the two graphs of a promptable model instead of those of the network."""

    def execute(self, part: GraphPart, **inputs: Tensor) -> Tensors:
        """Return the outputs, which the next call with the same shapes overwrites."""
        return self._execute(part, **inputs)


def sam_profiles(
    image_shapes: Mapping[str, list[int | str]],
) -> dict[GraphPart, tuple[Profile, ...]]:
    """Return the ranges of all input shapes; ``image_shapes`` as `sam_export` gives them."""
    fixed = {name: _fixed(*(int(size) for size in shape)) for name, shape in image_shapes.items()}
    most, tokens = PROMPTS_AT_ONCE, MAX_TOKENS
    mask = (1, MASK_SIZE, MASK_SIZE)
    prompts = {
        "points": ShapeRange((1, 2, 2), (1, 2, 2), (most, tokens, 2)),
        "labels": ShapeRange((1, 2), (1, 2), (most, tokens)),
        "mask_input": ShapeRange((1, *mask), (1, *mask), (most, *mask)),
        "has_mask": ShapeRange((1,), (1,), (most,)),
    }
    return {
        "encoder": ({"image": _fixed(1, 3, IMAGE_SIZE, IMAGE_SIZE)},),
        "decoder": ({**fixed, **prompts},),
    }


def _fixed(*shape: int) -> ShapeRange:
    return ShapeRange(shape, shape, shape)
