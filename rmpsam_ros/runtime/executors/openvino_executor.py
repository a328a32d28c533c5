"""Executes graphs with OpenVINO on a CPU."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from rmpsam_ros.export.forms import ExportForm, GraphPart
from rmpsam_ros.runtime.back_end import BackEnd, register
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import Executor, Precision, Tensors
from rmpsam_ros.runtime.graph_store import GraphStore

WHOLE, SPLIT = "whole", "fp32 stem and decoder"

Piece = tuple[bytes, str]
"""A serialised graph, and the hint of the precision it is computed in."""


@register
class OpenVINO(BackEnd):
    """OpenVINO with its CPU plugin.

    In bf16 either whole graphs are, where the results allow it, or the encoder without its stem
    (the first layers, as the export notes them), and then the decoder is fp32, too. Prompts and
    tubes, whose decoders take a moment, are always decoded in fp32.
    """

    name = "openvino"
    packages = ("onnx", "onnxscript", "openvino")
    forms: ClassVar[Mapping[Precision, ExportForm]] = {
        "fp32": ExportForm("grid_sample"),
        "bf16": ExportForm("grid_sample"),  # it converts the graph itself
        "int8": ExportForm("grid_sample", quantization="u8s8"),
    }

    def version(self) -> str:
        import openvino  # type: ignore[import-untyped, import-not-found, unused-ignore]

        return str(openvino.__version__).split("-")[0]

    def relative_times(self, device: torch.device) -> Mapping[Precision, float | None]:
        if device.type != "cpu":
            return {}
        times: dict[Precision, float | None] = {"int8": None, "fp32": 0.85}
        if not self.missing_packages() and "BF16" in _capabilities():
            times["bf16"] = 0.5
        return times

    def modes(self, precision: Precision, device: torch.device) -> tuple[str, ...]:
        return (WHOLE, SPLIT) if precision == "bf16" else (WHOLE,)

    def load(self, store: GraphStore, precision: Precision, mode: str) -> OpenVINOExecutor:
        network, form = store.network, self.forms[precision]
        reduced = "bf16" if precision == "bf16" else "f32"
        pieces: dict[GraphPart, list[list[Piece]]] = {}
        for part in network.parts:
            hint = reduced if part in network.computes else "f32"
            if mode == WHOLE or hint == "f32":
                pieces[part] = [[(store.graph(part, form), hint)]]
                continue
            encoder, *decoders = network.stages.get(part, (part,))
            pieces[part] = [_split(store.graph(encoder, form), hint)]
            pieces[part] += [[(store.graph(decoder, form), "f32")] for decoder in decoders]
        return OpenVINOExecutor(pieces, store.num_threads)


class OpenVINOExecutor(Executor):
    """Compiled graphs; a part may be several, and each in pieces, one after the other."""

    def __init__(
        self, pieces: Mapping[GraphPart, Sequence[Sequence[Piece]]], num_threads: int
    ) -> None:
        """Load serialised graphs in GridSample form.

        Args:
            pieces: of every graph of a part; the outputs of the last piece are those of its graph.
            num_threads: 0: one per core.

        Raises:
            EngineError: OpenVINO does not accept a graph, or its precision.
        """
        import openvino

        self.parts = frozenset(pieces)
        self._core = openvino.Core()
        self._options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": num_threads}
        self._requests = {
            part: [[self._compile(*piece) for piece in graph] for graph in graphs]
            for part, graphs in pieces.items()
        }

    def run(self, part: GraphPart, tensors: Tensors, *, rare: bool = False) -> dict[str, Tensor]:
        values = {name: tensor.numpy() for name, tensor in tensors.items()}
        outputs: dict[str, Tensor] = {}
        try:
            for graph in self._requests[part]:
                for request in graph:
                    ports = [port.get_names() & values.keys() for port in request.model_inputs]
                    given = {name: values[name] for (name,) in ports}
                    results = request.infer(given, share_inputs=True)
                    for port, value in results.items():
                        values.update(dict.fromkeys(port.get_names(), value))
                for port, value in results.items():
                    outputs.update(dict.fromkeys(port.get_names(), torch.from_numpy(value)))
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed: {_line(error)}") from error
        return outputs

    def close(self) -> None:
        self._requests.clear()

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


@cache
def _capabilities() -> frozenset[str]:
    """Return what this processor can do, in OpenVINO's words."""
    import openvino

    return frozenset(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _split(graph: bytes, hint: str) -> list[Piece]:
    """Cut an encoder into pieces, of which the stem stays fp32."""
    import onnx

    from rmpsam_ros.runtime.executors.split_graph import is_stem, split_behind_samples

    pieces = split_behind_samples(onnx.load_model_from_string(graph))
    return [(piece.SerializeToString(), "f32" if is_stem(piece) else hint) for piece in pieces]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
