"""The interface of everything that executes the parts of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from rmpsam_ros.export.forms import GraphPart
from rmpsam_ros.runtime.engine import EngineError

Precision = Literal["fp32", "bf16", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "bf16", "fp32")  # coarsest first

Tensors: TypeAlias = Mapping[str, Tensor]

CPU = torch.device("cpu")


class RefusedPlanError(EngineError):
    """A library does not load what it built before, for another version or GPU perhaps."""


class Executor(ABC):
    """The parts of one network, loaded in one precision; used from one thread.

    Attributes:
        device: where the results are; inputs may be there or on the CPU.
        parts: what `run` takes.
        fixed_shapes: whether a new shape of an input costs a moment, so that inputs are better
            filled up to few sizes.
        detail: what people should know of it besides name and version of the back end.
    """

    device: torch.device = CPU
    parts: frozenset[GraphPart]
    fixed_shapes: bool = False
    detail: str = ""

    @abstractmethod
    def run(self, part: GraphPart, tensors: Tensors, *, rare: bool = False) -> dict[str, Tensor]:
        """Execute a part of the network.

        Args:
            tensors: the inputs by name, float32, with the shapes that the part has.
            rare: the inputs are larger than usual: memory for them is not kept afterwards.

        Returns:
            the outputs by name, float32; they belong to the caller.

        Raises:
            EngineError: execution failed, or the shapes are beyond what was built.
        """

    def largest_batch(self, part: GraphPart, tensors: Tensors) -> int:
        """Return how many such inputs are faster together than one after the other."""
        return 1

    @abstractmethod
    def close(self) -> None:
        """Give back memory; the executor is not used afterwards."""
