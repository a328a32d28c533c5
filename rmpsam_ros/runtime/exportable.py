"""What the runtime knows of a network: everything it needs to make engines of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import torch

from rmpsam_ros.export.forms import ExportForm, GraphPart
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.executor import Executor
from rmpsam_ros.runtime.slots import Axes

if TYPE_CHECKING:
    from rmpsam_ros.model.inference_form import InferenceForm

PartShapes: TypeAlias = Mapping[str, Mapping[str, Mapping[str, list[int | str]]]]
"""Shapes by part, ``inputs`` or ``outputs``, and name; dynamic axes by their names."""

EngineT = TypeVar("EngineT")
AgreementT = TypeVar("AgreementT")


class Exportable(ABC, Generic[EngineT, AgreementT]):
    """A network with its weights, as engines are made of it.

    Attributes:
        name: of the network, for people and files.
        weights: where its weights come from, for people.
        licence: of the weights, for people; empty: there are none.
        parts: what an engine executes, the image's part first.
        computes: parts that have reduced precisions; all others are always fp32.
        stages: parts that are others, one after the other; the first may have a reduced precision.
        seldom: parts that do not run with every frame and whose results are kept.
        runs_beside: whether it is executed beside a panoptic network, which comes first.
        is_random: whether its weights are, which amplify rounding.
        has_int8: whether it has a form in eight bits.
    """

    name: str
    weights: str
    licence: str = ""
    parts: tuple[GraphPart, ...]
    computes: frozenset[GraphPart] = frozenset({"encoder", "frame"})
    stages: Mapping[GraphPart, tuple[GraphPart, ...]] = {}
    seldom: frozenset[GraphPart] = frozenset()
    runs_beside: bool = False
    is_random: bool = False
    has_int8: bool = False

    @property
    @abstractmethod
    def key(self) -> dict[str, Any]:
        """What every graph depends on, as JSON values: weights, code, versions."""

    @abstractmethod
    def form(self, compute: torch.dtype) -> InferenceForm:
        """Return the network as PyTorch modules, one for each part."""

    @abstractmethod
    def export(self, part: GraphPart, form: ExportForm) -> bytes:
        """Return a part as serialised ONNX.

        Raises:
            EngineError: it has no such form.
        """

    @abstractmethod
    def axes(self, part: GraphPart) -> tuple[Axes, ...]:
        """Return ranges of the dynamic axes of a part, the usual ones first."""

    def shapes(self) -> PartShapes:
        """Return the shapes of the inputs and outputs of all parts."""
        form = self.form(torch.float32)
        parts = {name: form.part(name) for name in form.parts}
        return {
            name: {
                "inputs": {key: list(shape) for key, shape in part.inputs.items()},
                "outputs": {key: list(shape) for key, shape in part.outputs.items()},
            }
            for name, part in parts.items()
        }

    @abstractmethod
    def engine(
        self, executor: Executor, info: EngineInfo, shapes: Callable[[], PartShapes]
    ) -> EngineT:
        """Return the engine that does this network's work with an executor.

        Args:
            shapes: gives what `shapes` does, from the cache if it is there.
        """

    @abstractmethod
    def compare(self, engine: EngineT, reference: EngineT) -> AgreementT:
        """Compare the results of an engine with those of fp32 PyTorch on stored frames."""

    @abstractmethod
    def agreement(self, values: Mapping[str, Any]) -> AgreementT:
        """Return a comparison from the fields that `dataclasses.asdict` gave."""

    @abstractmethod
    def shortcomings(self, agreement: AgreementT, precision: str) -> str:
        """Say why a precision is not good enough; '' if it is."""

    def info(self, engine: str, precision: str, device: str) -> EngineInfo:
        """Return the description of an engine."""
        return EngineInfo(engine, precision, device, self.name, self.weights, licence=self.licence)
