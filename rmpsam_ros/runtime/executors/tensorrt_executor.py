"""Executes graphs with TensorRT; buffers are PyTorch tensors on the GPU."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch

from rmpsam_ros.export.forms import ExportForm, GraphPart
from rmpsam_ros.runtime.back_end import BackEnd, register
from rmpsam_ros.runtime.checks import no_tubes
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import Precision, RefusedPlanError, Tensors
from rmpsam_ros.runtime.executors.cuda_graphs import CudaGraphExecutor, Lane, Shapes
from rmpsam_ros.runtime.executors.tensorrt_build import (
    DEFAULT_WORKSPACE,
    BuildSettings,
    Messages,
    build_plan,
    load_tensorrt,
    make_logger,
)
from rmpsam_ros.runtime.graph_store import GraphStore
from rmpsam_ros.runtime.slots import Profile

WORKSPACES: dict[GraphPart, int] = {"tube_decoder": 8 << 30}
"""Bytes for a layer where the default is too small: a tube has the masks of all its frames."""

Profiles = Mapping[GraphPart, tuple[Profile, ...]]


@register
class TensorRT(BackEnd):
    """TensorRT 10 and 11."""

    name = "tensorrt"
    packages = ("onnx", "onnxscript", "tensorrt")
    forms: ClassVar[Mapping[Precision, ExportForm]] = {
        "fp32": ExportForm("grid_sample"),
        "fp16": ExportForm("grid_sample", "fp16"),
        "bf16": ExportForm("grid_sample", "bf16"),
        "int8": ExportForm("grid_sample", "fp16", "s8s8"),
    }

    def version(self) -> str:
        return str(load_tensorrt().__version__)

    def relative_times(self, device: torch.device) -> Mapping[Precision, float | None]:
        if device.type != "cuda":
            return {}
        return {"int8": None, "fp16": 0.2, "bf16": 0.21, "fp32": 0.4}

    def load(self, store: GraphStore, precision: Precision, mode: str) -> TensorRTExecutor:
        trt = load_tensorrt()
        form = self.forms[precision]
        profiles: dict[GraphPart, tuple[Profile, ...]] = {}
        plans: dict[GraphPart, bytes] = {}
        for part in store.network.parts:
            profiles[part] = store.profiles(part)
            settings = BuildSettings(
                profiles[part],
                tensor_float_32=precision != "fp32",
                workspace=WORKSPACES.get(part, DEFAULT_WORKSPACE),
            )
            plans[part] = self._plan(trt, store, part, form, settings)
        return TensorRTExecutor(trt, plans, profiles, store.device)

    def _plan(
        self,
        trt: ModuleType,
        store: GraphStore,
        part: GraphPart,
        form: ExportForm,
        settings: BuildSettings,
    ) -> bytes:
        """Return the plan of a part, from the cache or built now."""

        def build() -> bytes:
            graph = store.graph(part, form)
            what = f"{store.network.name} ({part}, {form.precision})"
            store.progress(f"building the TensorRT engine of {what}: minutes")
            return build_plan(trt, graph, settings, store.progress, store.cancelled)

        key = {
            "part": part,
            "form": str(form),
            "settings": settings.to_json(),
            "tensorrt": [trt.__name__, trt.__version__],
            **gpu_key(store.device),
        }
        return store.plan(f"tensorrt-{part}-{form.precision}", key, build)


class TensorRTExecutor(CudaGraphExecutor):
    """TensorRT with a captured CUDA graph for every shape of the inputs in use."""

    def __init__(
        self,
        trt: ModuleType,
        plans: Mapping[GraphPart, bytes],
        profiles: Profiles,
        device: torch.device,
    ) -> None:
        """Load plans that were built with ``profiles``.

        Raises:
            RefusedPlanError: TensorRT refuses a plan: it is for another version or GPU.
        """
        super().__init__(device)
        self.parts = frozenset(plans)
        self._trt = trt
        self._messages = Messages()
        self._logger = make_logger(trt, self._messages)
        self._profiles = profiles
        with torch.cuda.device(device):
            self._runtime = trt.Runtime(self._logger)
            self._engines = {part: self._load(plan) for part, plan in plans.items()}

    def make_lane(self, part: GraphPart, shapes: Shapes) -> Lane:
        if part not in self._engines:
            raise no_tubes()
        for index, ranges in enumerate(self._profiles[part]):
            if all(ranges[name].allows(shapes[name]) for name in shapes):
                engine = self._engines[part]
                return TensorRTLane(self._trt, engine, self.device, shapes, index)
        largest = {name: allowed.largest for name, allowed in self._profiles[part][-1].items()}
        raise EngineError(f"input {dict(shapes)} is larger than the engine allows: {largest}")

    def largest_batch(self, part: GraphPart, tensors: Tensors) -> int:
        sizes = [
            ranges[name].largest[0]
            for ranges in self._profiles[part]
            for name, tensor in tensors.items()
            if ranges[name].allows(tuple(tensor.shape))
        ]
        return min(max(sizes, default=1), super().largest_batch(part, tensors))

    def close(self) -> None:
        self._lanes.clear()  # contexts go before engines, engines before the runtime
        self._engines.clear()
        del self._runtime
        super().close()

    def _load(self, plan: bytes) -> Any:
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise RefusedPlanError(f"TensorRT refuses the engine: {self._messages.summary()}")
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


def gpu_key(device: torch.device) -> dict[str, Any]:
    """Return what a plan depends on besides network, settings and TensorRT."""
    gpu = torch.cuda.get_device_properties(device)
    driver = Path("/proc/driver/nvidia/version")
    return {
        "gpu": [gpu.name, gpu.major, gpu.minor, gpu.multi_processor_count, gpu.total_memory],
        "cuda": torch.version.cuda,
        "driver": driver.read_text().splitlines()[0] if driver.is_file() else "",
        "system": platform.platform(),
    }
