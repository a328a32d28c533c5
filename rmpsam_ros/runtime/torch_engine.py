"""Executes the network with PyTorch itself, on a CPU or a CUDA device: the reference engine."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rmpsam_ros.model import RawObjects, RawPrompts, RmpSam
from rmpsam_ros.runtime.cpu import cpu_info
from rmpsam_ros.runtime.engine import (
    EngineError,
    EngineInfo,
    FrameOutput,
    HostSteps,
    ObjectOutput,
    PromptOutput,
    check_boxes,
    check_finite,
    check_image,
    check_tube,
    tube_objects,
)
from rmpsam_ros.runtime.export_form import GraphPart
from rmpsam_ros.runtime.gpu_engine import (
    BATCH_SLOTS,
    GpuEngine,
    Lane,
    Shapes,
    Tensors,
    padded_boxes,
)

HALF_PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def resolve_device(device: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that exists.

    Raises:
        EngineError: the device is unknown, or PyTorch cannot use it on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise EngineError(
            f"device '{device}' is unknown; use auto, cpu, cuda or cuda:N"
        ) from error
    if resolved.type not in ("cpu", "cuda"):
        raise EngineError(f"device '{device}' is not supported; use auto, cpu, cuda or cuda:N")
    if resolved.type == "cpu":
        return resolved
    if not torch.cuda.is_available():
        raise EngineError(
            f"device '{device}' asked for, but this PyTorch ({torch.__version__}) sees no CUDA "
            "device; use device auto or cpu, or install PyTorch with CUDA"
        )
    if (resolved.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device '{device}' asked for, but there are {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device("cuda", resolved.index or 0)


def device_description(device: torch.device) -> str:
    """Name a device as a person would: the GPU's own name, or the CPU with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {cpu_info()[0]} ({torch.get_num_threads()} threads)"


class TorchEngine(HostSteps):
    """Eager PyTorch in fp32.

    TF32 is switched off for the whole process: an engine that reports fp32 computes in fp32.
    """

    def __init__(self, model: RmpSam, device: torch.device, name: str, weights: str) -> None:
        self._device = device
        self._model = prepared(model, device)
        self.info = EngineInfo(
            engine=f"torch {torch.__version__}",
            precision="fp32",
            device=device_description(device),
            model=name,
            weights=weights,
            padded_boxes=model.anchored,
        )

    def run(
        self, image: NDArray[np.float32], boxes: NDArray[np.float32] | None = None
    ) -> FrameOutput:
        return self.run_group([image], [boxes])[0]

    def largest_group(self, image: NDArray[np.float32]) -> int:
        return BATCH_SLOTS[-1] if self._device.type == "cuda" else 1

    @torch.inference_mode()
    def run_group(
        self,
        images: Sequence[NDArray[np.float32]],
        boxes: Sequence[NDArray[np.float32] | None],
    ) -> list[FrameOutput]:
        for image in images:
            check_image(image)
        all_boxes = [np.zeros((0, 4), np.float32) if own is None else own for own in boxes]
        for own in all_boxes:
            check_boxes(own)
        tensor = torch.from_numpy(images[0] if len(images) == 1 else np.concatenate(images))
        tensor = tensor.to(self._device)
        features = self._model.features(tensor.contiguous(memory_format=torch.channels_last))
        slots = max(map(len, all_boxes))
        if slots == 0:
            objects = self._model.decode_objects(features)
            return [
                FrameOutput(features[i : i + 1], _objects_to_numpy(objects, i), None)
                for i in range(len(images))
            ]
        padded = padded_boxes(all_boxes, (len(images), slots)).to(self._device)
        objects, prompts = self._model.decode(features, padded)
        return [
            FrameOutput(
                features[i : i + 1],
                _objects_to_numpy(objects, i),
                _prompts_to_numpy(prompts, i, len(own)) if len(own) else None,
            )
            for i, own in enumerate(all_boxes)
        ]

    @torch.inference_mode()
    def decode_prompts(self, features: torch.Tensor, boxes: NDArray[np.float32]) -> PromptOutput:
        check_boxes(boxes)
        tensor = torch.from_numpy(boxes).to(self._device).unsqueeze(0)
        return _prompts_to_numpy(self._model.decode_prompts(features, tensor), 0, len(boxes))

    @torch.inference_mode()
    def decode_tube(self, features: Sequence[torch.Tensor]) -> tuple[ObjectOutput, ...]:
        check_tube([tuple(one.shape) for one in features])
        output = self._model.decode_objects(torch.cat(list(features)), frames=len(features))
        masks = output.mask_logits[0].reshape(-1, len(features), *features[0].shape[2:])
        return tube_objects(
            output.class_logits[0].cpu().numpy(),
            masks.cpu().numpy(),
            output.queries[0].cpu().numpy(),
        )

    @property
    def backbone(self) -> nn.Module:
        """The backbone alone, on its device: the yardstick of benchmarks."""
        return self._model.backbone

    def close(self) -> None:
        self._model.to("cpu")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class TorchGraphEngine(GpuEngine):
    """PyTorch on a GPU without its overhead per operator: one CUDA graph per input shape.

    In half precision backbone and neck are converted; sampling positions and decoder stay fp32.
    """

    def __init__(
        self,
        model: RmpSam,
        device: torch.device,
        precision: str,
        info: EngineInfo,
    ) -> None:
        """Take over ``model``, which is converted in place to fp32, fp16 or bf16."""
        super().__init__(device, info)
        self._model = prepared(model, device)
        if precision in HALF_PRECISIONS:
            self._model.backbone.to(HALF_PRECISIONS[precision])
            self._model.neck.to(HALF_PRECISIONS[precision])

    def make_lane(self, part: GraphPart, shapes: Shapes) -> "TorchLane":
        return TorchLane(self._model, self._device, shapes)

    def close(self) -> None:
        self._lanes.clear()
        self._model.to("cpu")
        super().close()


class TorchLane(Lane):
    """The network on one input shape: frames with prompts, or what is decoded of kept features."""

    def __init__(self, model: RmpSam, device: torch.device, shapes: Shapes) -> None:
        super().__init__(device, shapes)
        self._model = model

    @torch.inference_mode()
    def enqueue(self) -> Tensors:
        features = self.inputs.get("features")
        boxes = self.inputs.get("boxes")
        if boxes is None:
            assert features is not None
            return _tube_tensors(self._model.decode_objects(features, frames=len(features)))
        if features is not None:
            return _prompt_tensors(self._model.decode_prompts(features, boxes))
        image = self.inputs["image"].contiguous(memory_format=torch.channels_last)
        features = self._model.features(image)
        objects, prompts = self._model.decode(features, boxes)
        return {
            "features": features,
            "class_logits": objects.class_logits,
            "mask_logits": objects.mask_logits,
            "queries": objects.queries,
            **_prompt_tensors(prompts),
        }


def prepared(model: RmpSam, device: torch.device) -> RmpSam:
    """Put a network on its device, in eval mode and the layout it is executed fastest in."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    model.to(device).eval()
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def _tube_tensors(objects: RawObjects) -> Tensors:
    """Return the objects of a tube; the masks always have an axis of frames."""
    masks = objects.mask_logits
    return {
        "class_logits": objects.class_logits,
        "mask_logits": masks if masks.ndim == 5 else masks.unsqueeze(2),
        "queries": objects.queries,
    }


def _prompt_tensors(prompts: RawPrompts) -> Tensors:
    return {"prompt_mask_logits": prompts.mask_logits, "prompt_iou": prompts.iou[..., 0]}


def _objects_to_numpy(output: RawObjects, index: int) -> ObjectOutput:
    class_logits = output.class_logits[index].cpu().numpy()
    check_finite(class_logits)
    return ObjectOutput(
        class_logits=class_logits,
        mask_logits=output.mask_logits[index].cpu().numpy(),
        queries=output.queries[index].cpu().numpy(),
    )


def _prompts_to_numpy(output: RawPrompts, index: int, count: int) -> PromptOutput:
    """Return the first ``count`` prompts of image ``index`` of a batch."""
    iou = output.iou[index, :count, 0].cpu().numpy()
    check_finite(iou)
    return PromptOutput(output.mask_logits[index, :count].cpu().numpy(), iou)
