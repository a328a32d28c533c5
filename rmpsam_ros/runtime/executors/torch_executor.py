"""Executes networks with PyTorch itself, on a CPU or a GPU; eager in fp32 it is the reference."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rmpsam_ros.export.forms import GraphPart
from rmpsam_ros.model.inference_form import Part
from rmpsam_ros.runtime.back_end import BackEnd, register
from rmpsam_ros.runtime.checks import no_tubes
from rmpsam_ros.runtime.devices import use_threads
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import Executor, Precision, Tensors
from rmpsam_ros.runtime.executors.cuda_graphs import CudaGraphExecutor, Lane, Shapes
from rmpsam_ros.runtime.graph_store import GraphStore
from rmpsam_ros.runtime.slots import BATCH_SLOTS

COMPUTE = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
GRAPHS, EAGER = "CUDA graphs", "eager"

Parts = Mapping[GraphPart, Part]


@register
class Torch(BackEnd):
    """PyTorch; on a GPU without its overhead per operator, where CUDA graphs work."""

    name = "torch"

    def version(self) -> str:
        return torch.__version__

    def relative_times(self, device: torch.device) -> Mapping[Precision, float | None]:
        if device.type == "cuda":
            return {"fp16": 0.5, "bf16": None, "fp32": 1.0}
        return {"fp32": 1.0}

    def modes(self, precision: Precision, device: torch.device) -> tuple[str, ...]:
        return (GRAPHS, EAGER) if device.type == "cuda" else (EAGER,)

    def load(self, store: GraphStore, precision: Precision, mode: str) -> Executor:
        use_float32_products()
        form = store.network.form(COMPUTE[precision]).to(store.device)
        parts = {part: form.part(part) for part in store.network.parts}
        if mode == EAGER:
            return TorchExecutor(parts, store.device, store.num_threads)
        executor = TorchGraphExecutor(parts, store.device)
        first = store.network.parts[0]
        smallest = store.profiles(first)[0]
        executor.run(first, {name: torch.zeros(own.smallest) for name, own in smallest.items()})
        return executor


class TorchExecutor(Executor):
    """Eager PyTorch."""

    def __init__(self, parts: Parts, device: torch.device, num_threads: int = 0) -> None:
        """num_threads: of a CPU; 0: one per core."""
        self.device = device
        self.parts = frozenset(parts)
        self._modules = dict(parts)
        self._num_threads = num_threads

    @torch.inference_mode()
    def run(self, part: GraphPart, tensors: Tensors, *, rare: bool = False) -> dict[str, Tensor]:
        use_threads(self._num_threads)  # another network in the process may have others
        try:
            return call(self._modules[part], tensors, self.device)
        except RuntimeError as error:  # out of memory among them
            raise EngineError(f"PyTorch failed: {' '.join(str(error).split())}") from error

    def largest_batch(self, part: GraphPart, tensors: Tensors) -> int:
        return BATCH_SLOTS[-1] if self.device.type == "cuda" else 1

    def close(self) -> None:
        self._modules.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class TorchGraphExecutor(CudaGraphExecutor):
    """PyTorch with a captured CUDA graph for every shape of the inputs in use."""

    detail = " with CUDA graphs"

    def __init__(self, parts: Parts, device: torch.device) -> None:
        super().__init__(device)
        self.parts = frozenset(parts)
        self._modules = dict(parts)

    def make_lane(self, part: GraphPart, shapes: Shapes) -> TorchLane:
        if part not in self._modules:
            raise no_tubes()
        return TorchLane(self._modules[part], self.device, shapes)

    def close(self) -> None:
        self._lanes.clear()
        self._modules.clear()
        super().close()


class TorchLane(Lane):
    """A part of the network on inputs of one shape."""

    def __init__(self, module: Part, device: torch.device, shapes: Shapes) -> None:
        super().__init__(device, shapes)
        self._module = module

    @torch.inference_mode()
    def enqueue(self) -> Tensors:
        return call(self._module, self.inputs, self._device)


def call(module: Part, tensors: Tensors, device: torch.device) -> dict[str, Tensor]:
    """Call a part of an inference form.

    Args:
        module: the part, on ``device``.
        tensors: its inputs by name, of the shapes in `Part.inputs`.
        device: where it runs.

    Returns:
        Its outputs by name, of the shapes in `Part.outputs`.
    """
    inputs = [tensors[name].to(device) for name in module.input_names]
    if inputs[0].ndim == 4:  # channels next to each other halve the time of convolutions
        inputs[0] = inputs[0].contiguous(memory_format=torch.channels_last)
    return dict(zip(module.output_names, module(*inputs), strict=True))


def use_float32_products() -> None:
    """Switch TF32 off in this process: an engine that reports fp32 computes in fp32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
