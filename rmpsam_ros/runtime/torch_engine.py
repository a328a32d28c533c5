"""Executes the network with PyTorch itself, on a CPU or a CUDA device: the reference engine."""

import numpy as np
import torch
from numpy.typing import NDArray

from rmpsam_ros.model import ObjectOutput as ModelObjects
from rmpsam_ros.model import PromptOutput as ModelPrompts
from rmpsam_ros.model import RmpSam
from rmpsam_ros.runtime.engine import (
    EngineError,
    EngineInfo,
    FrameOutput,
    ObjectOutput,
    PromptOutput,
    check_boxes,
    check_finite,
    check_image,
)


def resolve_device(device: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that exists.

    Raises:
        EngineError: the device is unknown, or PyTorch cannot use it on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise EngineError(
            f"device '{device}' is unknown; use auto, cpu, cuda or cuda:N"
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(
            f"device '{device}' asked for, but this PyTorch ({torch.__version__}) sees no CUDA "
            "device; use device auto or cpu, or install PyTorch with CUDA"
        )
    if resolved.type not in ("cpu", "cuda"):
        raise EngineError(f"device '{device}' is not supported; use auto, cpu, cuda or cuda:N")
    return resolved


def device_description(device: torch.device) -> str:
    """Name a device as a person would: the GPU's own name, or the CPU with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.get_num_threads()} threads)"


class TorchEngine:
    """Eager PyTorch in fp32.

    TF32 is switched off for the whole process: an engine that reports fp32 computes in fp32.
    """

    def __init__(self, model: RmpSam, device: torch.device, name: str, weights: str) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self._device = device
        self._model = model.to(device).eval()
        _to_channels_last(self._model)
        self.info = EngineInfo(
            engine=f"torch {torch.__version__}",
            precision="fp32",
            device=device_description(device),
            model=name,
            weights=weights,
        )

    @torch.inference_mode()
    def run(
        self, image: NDArray[np.float32], boxes: NDArray[np.float32] | None = None
    ) -> FrameOutput:
        check_image(image)
        tensor = torch.from_numpy(image).to(self._device)
        features = self._model.features(tensor.contiguous(memory_format=torch.channels_last))
        if boxes is None or len(boxes) == 0:
            objects = self._model.decode_objects(features)
            return FrameOutput(features, _objects_to_numpy(objects), None)
        objects, prompts = self._model.decode(features, self._boxes(boxes))
        return FrameOutput(features, _objects_to_numpy(objects), _prompts_to_numpy(prompts))

    @torch.inference_mode()
    def decode_prompts(self, features: torch.Tensor, boxes: NDArray[np.float32]) -> PromptOutput:
        return _prompts_to_numpy(self._model.decode_prompts(features, self._boxes(boxes)))

    def close(self) -> None:
        self._model.to("cpu")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _boxes(self, boxes: NDArray[np.float32]) -> torch.Tensor:
        check_boxes(boxes)
        return torch.from_numpy(boxes).to(self._device).unsqueeze(0)


def _to_channels_last(model: RmpSam) -> None:
    """Store convolution weights channels last, in which layout they are executed fastest."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _objects_to_numpy(output: ModelObjects) -> ObjectOutput:
    class_logits = output.class_logits[0].cpu().numpy()
    check_finite(class_logits)
    return ObjectOutput(
        class_logits=class_logits,
        mask_logits=output.mask_logits[0].cpu().numpy(),
        queries=output.queries[0].cpu().numpy(),
    )


def _prompts_to_numpy(output: ModelPrompts) -> PromptOutput:
    iou = output.iou[0, :, 0].cpu().numpy()
    check_finite(iou)
    return PromptOutput(mask_logits=output.mask_logits[0].cpu().numpy(), iou=iou)
