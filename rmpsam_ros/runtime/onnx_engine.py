"""Executes the network with ONNX Runtime on a CPU."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import OrtValue

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
    no_tubes,
    tube_objects,
)
from rmpsam_ros.runtime.export_form import ExportForm, Quantization

DEFORM_CONV_VERSION = (1, 25)  # the first ONNX Runtime that executes DeformConv on a CPU


def version() -> str:
    """Return what to call the installed ONNX Runtime."""
    return f"onnxruntime {onnxruntime.__version__}"


def onnxruntime_form(quantization: Quantization = "none") -> ExportForm:
    """Return the form of the graphs that the installed ONNX Runtime executes fastest."""
    installed = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    has_operator = installed >= DEFORM_CONV_VERSION
    return ExportForm("operator" if has_operator else "grid_sample", quantization=quantization)


class OnnxEngine(HostSteps):
    """ONNX Runtime on a CPU; one graph for a frame, another for late prompts.

    The arrays it returns are the memory that ONNX Runtime wrote to, without a copy.
    """

    def __init__(
        self,
        frame: bytes,
        prompt_decoder: bytes,
        num_threads: int,
        info: EngineInfo,
        tube_decoder: bytes | None = None,
    ) -> None:
        """Load serialised graphs in a form of `onnxruntime_form`.

        Args:
            num_threads: 0: one per core.
            tube_decoder: None: for single frames only.

        Raises:
            EngineError: ONNX Runtime does not accept a graph.
        """
        self.info = info
        self._frame = make_session(frame, num_threads)
        self._prompt_decoder = make_session(prompt_decoder, num_threads)
        self._tube_decoder = make_session(tube_decoder, num_threads) if tube_decoder else None
        self._no_boxes = OrtValue.ortvalue_from_numpy(np.zeros((1, 0, 4), np.float32))

    def run(
        self, image: NDArray[np.float32], boxes: NDArray[np.float32] | None = None
    ) -> FrameOutput:
        check_image(image)
        has_prompts = boxes is not None and len(boxes) > 0
        inputs = {
            "image": OrtValue.ortvalue_from_numpy(np.ascontiguousarray(image)),
            "boxes": _boxes(boxes) if boxes is not None else self._no_boxes,
        }
        outputs = execute(self._frame, inputs)
        class_logits, mask_logits, queries = (
            outputs[name].numpy()[0] for name in ("class_logits", "mask_logits", "queries")
        )
        check_finite(class_logits)
        return FrameOutput(
            features=outputs["features"],
            objects=ObjectOutput(class_logits, mask_logits, queries),
            prompts=_prompt_output(outputs) if has_prompts else None,
        )

    def decode_prompts(self, features: OrtValue, boxes: NDArray[np.float32]) -> PromptOutput:
        inputs = {"features": features, "boxes": _boxes(boxes)}
        return _prompt_output(execute(self._prompt_decoder, inputs))

    def decode_tube(self, features: Sequence[OrtValue]) -> tuple[ObjectOutput, ...]:
        if self._tube_decoder is None:
            raise no_tubes()
        maps = [one.numpy() for one in features]
        check_tube([one.shape for one in maps])
        inputs = {"features": OrtValue.ortvalue_from_numpy(np.concatenate(maps))}
        outputs = execute(self._tube_decoder, inputs)
        return tube_objects(
            *(outputs[name].numpy()[0] for name in ("class_logits", "mask_logits", "queries"))
        )

    def close(self) -> None:
        del self._frame, self._prompt_decoder, self._tube_decoder


def make_session(
    graph: bytes, num_threads: int, keep_memory: bool = True
) -> onnxruntime.InferenceSession:
    """Load a serialised graph for execution on a CPU.

    Args:
        num_threads: 0: one per core.
        keep_memory: between runs, which saves time where they follow one another.

    Raises:
        EngineError: ONNX Runtime does not accept it.
    """
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
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    same_as_requested = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(memory, same_as_requested)


def execute(
    session: onnxruntime.InferenceSession,
    inputs: dict[str, OrtValue],
    release_memory: bool = False,
) -> dict[str, OrtValue]:
    """Run a session and return all outputs by name, in the memory that they were written to.

    Args:
        release_memory: that a session keeps between runs, afterwards.

    Raises:
        EngineError: ONNX Runtime failed.
    """
    names = [output.name for output in session.get_outputs()]
    options = onnxruntime.RunOptions()
    if release_memory:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    try:
        outputs = session.run_with_ort_values(names, inputs, options)
        return dict(zip(names, outputs, strict=True))
    except Exception as error:
        raise EngineError(f"ONNX Runtime failed: {_line(error)}") from error


def _boxes(boxes: NDArray[np.float32]) -> OrtValue:
    check_boxes(boxes)
    return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(boxes[None]))


def _prompt_output(outputs: dict[str, OrtValue]) -> PromptOutput:
    iou = outputs["prompt_iou"].numpy()[0]
    check_finite(iou)
    return PromptOutput(outputs["prompt_mask_logits"].numpy()[0], iou)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
