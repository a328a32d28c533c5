"""Executes graphs with ONNX Runtime on a CPU."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from rmpsam_ros.export.forms import ExportForm, GraphPart
from rmpsam_ros.runtime.back_end import BackEnd, register
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import Executor, Precision, Tensors
from rmpsam_ros.runtime.graph_store import GraphStore

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue

DEFORM_CONV_VERSION = (1, 25)  # the first ONNX Runtime that executes DeformConv on a CPU


@register
class OnnxRuntime(BackEnd):
    """ONNX Runtime with its CPU provider."""

    name = "onnxruntime"
    packages = ("onnx", "onnxscript", "onnxruntime")
    forms: ClassVar[Mapping[Precision, ExportForm]] = {
        "fp32": ExportForm("operator"),
        "int8": ExportForm("operator", quantization="u8s8"),
    }

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def relative_times(self, device: torch.device) -> Mapping[Precision, float | None]:
        return {"int8": None, "fp32": 0.8} if device.type == "cpu" else {}

    def load(self, store: GraphStore, precision: Precision, mode: str) -> OnnxRuntimeExecutor:
        form = self.forms[precision]
        if tuple(int(part) for part in self.version().split(".")[:2]) < DEFORM_CONV_VERSION:
            form = replace(form, deform_conv="grid_sample")
        graphs = store.graphs(form)
        return OnnxRuntimeExecutor(graphs, store.num_threads, store.network.seldom)


class OnnxRuntimeExecutor(Executor):
    """A session for every part; the results are the memory that it wrote to, without a copy."""

    def __init__(
        self,
        graphs: Mapping[GraphPart, bytes],
        num_threads: int,
        seldom: Collection[GraphPart] = (),
    ) -> None:
        """Load serialised graphs.

        Args:
            num_threads: 0: one per core.
            seldom: parts that keep no memory between runs. What is kept of their results must not
                hold the memory that it was computed in; it costs a tenth of their time.

        Raises:
            EngineError: ONNX Runtime does not accept a graph.
        """
        self.parts = frozenset(graphs)
        self._sessions = {
            part: make_session(graph, num_threads, keep_memory=part not in seldom)
            for part, graph in graphs.items()
        }

    def run(self, part: GraphPart, tensors: Tensors, *, rare: bool = False) -> dict[str, Tensor]:
        from onnxruntime import OrtValue

        inputs = {
            name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(tensor.numpy()))
            for name, tensor in tensors.items()
        }
        outputs = execute(self._sessions[part], inputs, release_memory=rare)
        return {name: torch.from_numpy(value.numpy()) for name, value in outputs.items()}

    def close(self) -> None:
        self._sessions.clear()


def make_session(graph: bytes, num_threads: int, keep_memory: bool = True) -> InferenceSession:
    """Load a serialised graph for execution on a CPU.

    Args:
        num_threads: 0: one per core.
        keep_memory: between runs, which saves time where they follow one another.

    Raises:
        EngineError: ONNX Runtime does not accept it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = keep_memory
    if keep_memory:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    # Threads wait actively inside a run only: between frames the cores are free for others.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many types that share no other base
        raise EngineError(f"ONNX Runtime does not accept the graph: {_line(error)}") from error


@cache
def _register_arena() -> None:
    """Let all sessions of this process share one arena that grows by what is asked for.

    A session's own arena doubles whenever it grows. Kept features lie in it: while the node fills
    its window of kept frames, blocks of 64 MiB came that were never used.
    """
    import onnxruntime

    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    same_as_requested = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(memory, same_as_requested)


def execute(
    session: InferenceSession, inputs: Mapping[str, OrtValue], release_memory: bool = False
) -> dict[str, OrtValue]:
    """Run a session and return all outputs by name, in the memory that they were written to.

    Args:
        release_memory: that a session keeps between runs, afterwards.

    Raises:
        EngineError: ONNX Runtime failed.
    """
    import onnxruntime

    names = [output.name for output in session.get_outputs()]
    options = onnxruntime.RunOptions()
    if release_memory:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    try:
        outputs = session.run_with_ort_values(names, dict(inputs), options)
        return dict(zip(names, outputs, strict=True))
    except Exception as error:
        raise EngineError(f"ONNX Runtime failed: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
