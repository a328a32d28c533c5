"""Executes the network with TensorRT; buffers are PyTorch tensors on the GPU."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch

from rmpsam_ros.runtime.engine import EngineError, EngineInfo, no_tubes
from rmpsam_ros.runtime.export_form import GraphPart
from rmpsam_ros.runtime.gpu_engine import GpuEngine, Image, Lane, Shapes, Tensors
from rmpsam_ros.runtime.tensorrt_build import Messages, Profile, make_logger


class PlanRefusedError(EngineError):
    """TensorRT does not load an engine that was built before; a new one may help."""


class TensorRTEngine(GpuEngine):
    """TensorRT with a captured CUDA graph for every input shape in use."""

    def __init__(
        self,
        trt: ModuleType,
        plans: Mapping[GraphPart, bytes],
        profiles: Mapping[GraphPart, tuple[Profile, ...]],
        device: torch.device,
        info: EngineInfo,
    ) -> None:
        """Load plans of the graphs, built with ``profiles``.

        Args:
            plans: ``frame`` and ``prompt_decoder``; ``tube_decoder`` for tubes.

        Raises:
            PlanRefusedError: TensorRT refuses a plan: it is for another version or GPU.
        """
        super().__init__(device, info)
        self._trt = trt
        self._messages = Messages()
        self._logger = make_logger(trt, self._messages)
        self._profiles = dict(profiles)
        with torch.cuda.device(device):
            self._runtime = trt.Runtime(self._logger)
            self._engines = {part: self._load(plan) for part, plan in plans.items()}

    def make_lane(self, part: GraphPart, shapes: Shapes) -> "TensorRTLane":
        if part not in self._engines:
            raise no_tubes()
        for index, profile in enumerate(self._profiles[part]):
            if all(_fits(shapes[name], profile[name].largest) for name in shapes):
                engine = self._engines[part]
                return TensorRTLane(self._trt, engine, self._device, shapes, index)
        largest = {name: allowed.largest for name, allowed in self._profiles[part][-1].items()}
        raise EngineError(f"input {dict(shapes)} is larger than the engine allows: {largest}")

    def largest_group(self, image: Image) -> int:
        sizes = [
            profile["image"].largest[0]
            for profile in self._profiles["frame"]
            if _fits(tuple(image.shape), profile["image"].largest)
        ]
        return min(max(sizes, default=1), super().largest_group(image))

    def close(self) -> None:
        self._lanes.clear()  # contexts go before engines, engines before the runtime
        self._engines.clear()
        del self._runtime
        super().close()

    def _load(self, plan: bytes) -> Any:
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise PlanRefusedError(f"TensorRT refuses the engine: {self._messages.summary()}")
        return engine


class TensorRTLane(Lane):
    """An execution context with its buffers."""

    def __init__(
        self, trt: ModuleType, engine: Any, device: torch.device, shapes: Shapes, profile: int
    ) -> None:
        super().__init__(device, shapes)
        context = engine.create_execution_context()
        if context is None:
            raise EngineError("TensorRT has no memory for another input shape")
        self._context = context
        context.set_optimization_profile_async(profile, self._stream.cuda_stream)
        self._stream.synchronize()
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineError(f"TensorRT refuses shape {shape} of input '{name}'")
        if unspecified := context.infer_shapes():
            raise EngineError(f"TensorRT lacks the shapes of {unspecified}")
        self._results: dict[str, torch.Tensor] = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            if engine.get_tensor_dtype(name) != trt.float32:
                raise EngineError(f"tensor '{name}' of the TensorRT engine is not float32")
            if name not in self.inputs:
                size = tuple(context.get_tensor_shape(name))
                self._results[name] = torch.zeros(size, dtype=torch.float32, device=device)
            buffer = self.inputs.get(name, self._results.get(name))
            assert buffer is not None
            context.set_tensor_address(name, buffer.data_ptr())

    def enqueue(self) -> Tensors:
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise EngineError("TensorRT failed to start the network")
        return self._results


def _fits(shape: tuple[int, ...], largest: tuple[int, ...]) -> bool:
    same = len(shape) == len(largest)
    return same and all(size <= limit for size, limit in zip(shape, largest, strict=True))
