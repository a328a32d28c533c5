"""Executes the network with OpenVINO on a CPU."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import openvino  # type: ignore[import-untyped, import-not-found, unused-ignore]
from numpy.typing import NDArray

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
from rmpsam_ros.runtime.export_form import GraphPart
from rmpsam_ros.runtime.split_graph import is_stem, split_behind_samples

HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}


def version() -> str:
    """Return what to call the installed OpenVINO."""
    return f"openvino {openvino.__version__.split('-')[0]}"


class OpenVINOEngine(HostSteps):
    """OpenVINO on a CPU: the encoder in the wanted precision, the decoders in fp32.

    In bf16 the stem, TinyViT's first stage and all of Lite0, stays fp32, too: without it results
    are too far off, and Lite0's depth-wise convolutions are no faster in bf16.
    """

    def __init__(
        self, graphs: Mapping[GraphPart, bytes], precision: str, num_threads: int, info: EngineInfo
    ) -> None:
        """Load serialised graphs in GridSample form.

        Args:
            graphs: ``encoder``, ``decoder`` and ``prompt_decoder``; ``tube_decoder`` for tubes.
            precision: fp32, bf16, or int8, which the graph of the encoder then has inside.
            num_threads: 0: one per core.

        Raises:
            EngineError: the processor has no bf16, or OpenVINO does not accept a graph.
        """
        self.info = info
        self._core = openvino.Core()
        if precision == "bf16" and "BF16" not in self._core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise EngineError("this processor has no bf16 arithmetic")
        self._options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": num_threads}
        encoder = onnx.load_model_from_string(graphs["encoder"])
        pieces = split_behind_samples(encoder) if precision == "bf16" else [encoder]
        self._encoder = [
            self._compile(piece.SerializeToString(), "f32" if is_stem(piece) else HINTS[precision])
            for piece in pieces
        ]
        self._decoder = [self._compile(graphs["decoder"], "f32")]
        self._prompt_decoder = [self._compile(graphs["prompt_decoder"], "f32")]
        tubes = graphs.get("tube_decoder")
        self._tube_decoder = [self._compile(tubes, "f32")] if tubes else None

    def run(
        self, image: NDArray[np.float32], boxes: NDArray[np.float32] | None = None
    ) -> FrameOutput:
        check_image(image)
        boxes = np.zeros((0, 4), np.float32) if boxes is None else boxes
        check_boxes(boxes)
        features = _execute(self._encoder, {"image": image})["features"]
        outputs = _execute(self._decoder, {"features": features, "boxes": boxes[None]})
        class_logits = outputs["class_logits"][0]
        check_finite(class_logits)
        objects = ObjectOutput(class_logits, outputs["mask_logits"][0], outputs["queries"][0])
        prompts = _prompt_output(outputs) if len(boxes) else None
        return FrameOutput(features, objects, prompts)

    def decode_prompts(
        self, features: NDArray[np.float32], boxes: NDArray[np.float32]
    ) -> PromptOutput:
        check_boxes(boxes)
        inputs = {"features": features, "boxes": boxes[None]}
        return _prompt_output(_execute(self._prompt_decoder, inputs))

    def decode_tube(self, features: Sequence[NDArray[np.float32]]) -> tuple[ObjectOutput, ...]:
        if self._tube_decoder is None:
            raise no_tubes()
        check_tube([one.shape for one in features])
        outputs = _execute(self._tube_decoder, {"features": np.concatenate(features)})
        return tube_objects(
            *(outputs[name][0] for name in ("class_logits", "mask_logits", "queries"))
        )

    def close(self) -> None:
        del self._encoder, self._decoder, self._prompt_decoder, self._tube_decoder

    def _compile(self, graph: bytes, hint: str) -> Any:
        try:
            model = self._core.read_model(io.BytesIO(graph))
            compiled = self._core.compile_model(
                model, "CPU", {**self._options, "INFERENCE_PRECISION_HINT": hint}
            )
        except RuntimeError as error:
            raise EngineError(f"OpenVINO does not accept the graph: {_line(error)}") from error
        actual = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        if actual != hint:
            raise EngineError(f"OpenVINO would compute in {actual} instead of {hint}")
        return compiled.create_infer_request()


def _execute(
    requests: Sequence[Any], inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """Run the pieces of a graph in turn and return copies of all their outputs."""
    tensors = dict(inputs)
    try:
        for request in requests:
            ports = [port.get_names() & tensors.keys() for port in request.model_inputs]
            given = {name: tensors[name] for (name,) in ports}
            results = request.infer(given, share_inputs=True)
            for port, values in results.items():
                tensors.update(dict.fromkeys(port.get_names(), values))
    except RuntimeError as error:
        raise EngineError(f"OpenVINO failed: {_line(error)}") from error
    return tensors


def _prompt_output(outputs: Mapping[str, NDArray[np.float32]]) -> PromptOutput:
    iou = outputs["prompt_iou"][0]
    check_finite(iou)
    return PromptOutput(outputs["prompt_mask_logits"][0], iou)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
