"""All of what a new back end takes: PyTorch that counts what it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from rmpsam_ros.export.forms import GraphPart
from rmpsam_ros.model.inference_form import InferenceForm
from rmpsam_ros.runtime.back_end import BackEnd, register
from rmpsam_ros.runtime.executor import Executor, Precision, Tensors
from rmpsam_ros.runtime.graph_store import GraphStore


@register
class Toy(BackEnd):
    """Faster than all others, as it says of itself."""

    name = "toy"

    def version(self) -> str:
        return "0.1"

    def relative_times(self, device: torch.device) -> Mapping[Precision, float | None]:
        return {"fp32": 0.01} if device.type == "cpu" else {}

    def load(self, store: GraphStore, precision: Precision, mode: str) -> ToyExecutor:
        plan = store.plan("toy-plan", {"toy": self.version()}, lambda: b"plan")
        assert plan == b"plan"
        return ToyExecutor(store.network.form(torch.float32), store.network.parts)


class ToyExecutor(Executor):
    """Calls the parts of a network, and adds an error that a test may set."""

    error = 0.0

    def __init__(self, form: InferenceForm, parts: tuple[GraphPart, ...]) -> None:
        self.parts = frozenset(parts)
        self.calls: Counter[GraphPart] = Counter()
        self._form = form

    @torch.inference_mode()
    def run(self, part: GraphPart, tensors: Tensors, *, rare: bool = False) -> dict[str, Tensor]:
        self.calls[part] += 1
        module = self._form.part(part)
        values = module(*(tensors[name] for name in module.input_names))
        return {
            name: value + self.error
            for name, value in zip(module.output_names, values, strict=True)
        }

    def close(self) -> None:
        self.calls.clear()
