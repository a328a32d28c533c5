"""What executors on a GPU share: a captured CUDA graph for every shape of the inputs in use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from rmpsam_ros.export.forms import GraphPart
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import Executor, Tensors
from rmpsam_ros.runtime.slots import BATCH_SLOTS

MAX_LANES = 8
"""Input shapes that keep their buffers; beyond, the least recently used one is given up."""

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


class CudaGraphExecutor(Executor):
    """Runs every part through lanes, one for every shape of the inputs in use.

    A new shape costs a moment the first time: buffers, warm-up, capture.
    """

    fixed_shapes = True

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._lanes: OrderedDict[tuple[object, ...], Lane] = OrderedDict()

    @abstractmethod
    def make_lane(self, part: GraphPart, shapes: Shapes) -> Lane:
        """Prepare a part for inputs of these shapes.

        Raises:
            EngineError: the part does not allow these shapes.
        """

    @torch.inference_mode()
    def run(self, part: GraphPart, tensors: Tensors, *, rare: bool = False) -> dict[str, Tensor]:
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        key = (part, *sorted(shapes.items()))
        try:
            if key not in self._lanes:
                while len(self._lanes) >= MAX_LANES:
                    self._lanes.popitem(last=False)
                self._lanes[key] = self.make_lane(part, shapes)
            self._lanes.move_to_end(key)
            outputs = self._lanes[key].run(tensors)
            return {name: tensor.clone() for name, tensor in outputs.items()}
        except RuntimeError as error:  # of CUDA; out of memory is one too
            if isinstance(error, EngineError):
                raise
            self._lanes.pop(key, None)
            raise EngineError(f"the GPU failed: {' '.join(str(error).split())}") from error

    def largest_batch(self, part: GraphPart, tensors: Tensors) -> int:
        return BATCH_SLOTS[-1]

    def close(self) -> None:
        self._lanes.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class Lane(ABC):
    """One input shape: input buffers, a stream, and a CUDA graph over them.

    The graph holds addresses and shapes; nothing of them changes after the capture.
    """

    def __init__(self, device: torch.device, shapes: Shapes) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self.inputs = {
            name: torch.zeros(shape, dtype=torch.float32, device=device)
            for name, shape in shapes.items()
        }
        self._staging = {
            name: torch.empty(shape, dtype=torch.float32, pin_memory=True)
            for name, shape in shapes.items()
        }
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Tensors = {}

    @abstractmethod
    def enqueue(self) -> Tensors:
        """Put the work on the current stream and return its outputs, always the same memory."""

    def capture(self) -> None:
        """Run once, which sets up what is set up lazily, then capture the same work."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self.enqueue()
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._outputs = self.enqueue()
            self._graph = graph

    def run(self, inputs: Tensors) -> Tensors:
        """Execute and return the outputs, ready for the current stream."""
        if self._graph is None:
            self.capture()
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                for name, tensor in inputs.items():
                    if tensor.device.type == "cpu":  # page-locked memory: else the copy blocks
                        tensor = self._staging[name].copy_(tensor)
                    self.inputs[name].copy_(tensor, non_blocking=True)
                assert self._graph is not None
                self._graph.replay()
            current.wait_stream(self._stream)
        return self._outputs
