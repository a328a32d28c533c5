"""Libraries that execute networks, and the table of all there are.

A back end is one file in `rmpsam_ros.runtime.executors`: it holds everything that is known of a
library, and registers itself. Nothing else names it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import ClassVar, TypeVar

import torch

from rmpsam_ros.export.forms import ExportForm
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import Executor, Precision
from rmpsam_ros.runtime.graph_store import GraphStore


class BackEnd(ABC):
    """A library that executes networks, and everything that is known of it.

    Attributes:
        name: as in the parameter ``engine``.
        packages: Python packages that it needs.
        forms: of the graphs that it executes, by precision; empty if it needs none.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    forms: ClassVar[Mapping[Precision, ExportForm]] = {}

    @abstractmethod
    def version(self) -> str:
        """Return the version of the installed library.

        Raises:
            EngineError: it is installed, but cannot be used.
        """

    @abstractmethod
    def relative_times(self, device: torch.device) -> Mapping[Precision, float | None]:
        """Return the precisions on a device, and how long a frame takes in each.

        The times are relative to eager PyTorch in fp32 on the same device; the automatic choice
        tries the shortest first. None: only where it is asked for. Empty: not on this device.
        """

    def modes(self, precision: Precision, device: torch.device) -> tuple[str, ...]:
        """Return the ways to execute a precision, fastest first: the first that agrees is used."""
        return ("",)

    @abstractmethod
    def load(self, store: GraphStore, precision: Precision, mode: str) -> Executor:
        """Build what is not in the cache, and load it.

        Raises:
            EngineError: this network, device or precision is impossible, or it was cancelled.
            RefusedPlanError: it is to be built anew.
        """

    def missing_packages(self) -> str:
        """Return the packages that it needs and Python lacks, for people; '' if none."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        return " and ".join(missing)


BACK_ENDS: dict[str, BackEnd] = {}
"""All back ends by name; use `back_ends`, which imports the files they are in."""

_Class = TypeVar("_Class", bound=type[BackEnd])


def register(back_end: _Class) -> _Class:
    """Class decorator: add a back end to the table."""
    BACK_ENDS[back_end.name] = back_end()
    return back_end


@cache
def _import_all() -> None:
    from rmpsam_ros.runtime import executors

    for module in pkgutil.iter_modules(executors.__path__, f"{executors.__name__}."):
        importlib.import_module(module.name)


def back_ends() -> dict[str, BackEnd]:
    """Return all back ends by name, whether their libraries are installed or not."""
    _import_all()
    return BACK_ENDS


def back_end(name: str) -> BackEnd:
    """Return a back end by its name.

    Raises:
        EngineError: there is none of this name.
    """
    if name not in back_ends():
        raise EngineError(f"engine '{name}' is unknown; use auto, {', '.join(sorted(BACK_ENDS))}")
    return BACK_ENDS[name]
