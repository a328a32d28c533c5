"""The graphs of one network, exported when they are first needed, and what is built of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from rmpsam_ros.export.forms import ExportForm, GraphPart
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.exportable import Exportable, PartShapes
from rmpsam_ros.runtime.slots import Profile, profile


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where engines are made, and who is told.

    Attributes:
        device: that they run on.
        num_threads: of a CPU; 0: one per core.
        cache: what was built stays there.
        progress: called with one line before every step that takes longer than a moment.
        cancelled: setting it, from another thread, ends a build that takes minutes.
    """

    device: torch.device
    cache: EngineCache
    num_threads: int = 0
    progress: Callable[[str], None] = lambda line: None
    cancelled: threading.Event = field(default_factory=threading.Event)


class GraphStore:
    """What a back end takes to load a network: graphs, plans and shapes, from the cache or made.

    Attributes:
        network: what is executed.
        device, num_threads, progress, cancelled: see `Surroundings`.
    """

    def __init__(self, network: Exportable[Any, Any], surroundings: Surroundings) -> None:
        self.network = network
        self.device = surroundings.device
        self.num_threads = surroundings.num_threads
        self.progress = surroundings.progress
        self.cancelled = surroundings.cancelled
        self._cache = surroundings.cache
        self._plans: list[tuple[str, dict[str, Any]]] = []
        self._graphs: list[tuple[str, dict[str, Any]]] = []

    def graph(self, part: GraphPart, form: ExportForm) -> bytes:
        """Return a part of the network as serialised ONNX.

        Raises:
            EngineError: it has no such form.
        """
        if part not in self.network.computes:  # the rest is the same in every precision
            form = replace(form, compute="fp32", quantization="none")

        def build() -> bytes:
            self.progress(f"writing {self.network.name} as ONNX ({part}, {form})")
            return self.network.export(part, form)

        name, key = f"{part}-{form.precision}", {"part": part, "form": str(form)}
        self._graphs.append((name, key))
        return self.fetch(name, key, build)

    def graphs(self, form: ExportForm) -> dict[GraphPart, bytes]:
        """Return all parts that an engine executes as serialised ONNX."""
        return {part: self.graph(part, form) for part in self.network.parts}

    def plan(self, name: str, key: dict[str, Any], build: Callable[[], bytes]) -> bytes:
        """Return what a back end builds of graphs, made once for this network and ``key``."""
        self._plans.append((name, key))
        return self.fetch(name, key, build)

    def discard_plans(self) -> None:
        """Forget the plans that were asked for: the library refuses them."""
        for name, key in self._plans:
            self._cache.discard(f"{self.network.name}-{name}", {**self.network.key, **key})
        self._plans.clear()

    def discard_unreadable_graphs(self) -> bool:
        """Forget the graphs that were asked for and are none; return whether there were any."""
        found = False
        for name, key in self._graphs:
            stored = self.peek(name, key)
            if stored is not None and not _is_graph(stored):
                self._cache.discard(f"{self.network.name}-{name}", {**self.network.key, **key})
                found = True
        self._graphs.clear()
        return found

    def fetch_json(self, name: str, key: dict[str, Any], build: Callable[[], Any]) -> Any:
        """Return JSON values that belong to this network and ``key``, as `fetch`."""

        def encoded() -> bytes:
            return json.dumps(build()).encode()

        try:
            return json.loads(self.fetch(name, key, encoded))
        except (ValueError, RecursionError):
            self._cache.discard(f"{self.network.name}-{name}", {**self.network.key, **key})
            return json.loads(self.fetch(name, key, encoded))

    def peek_json(self, name: str, key: dict[str, Any]) -> Any:
        """Return the values that `fetch_json` would find; None if they would be made."""
        try:
            known = self.peek(name, key)
            return None if known is None else json.loads(known)
        except (ValueError, RecursionError):
            return None

    def fetch(self, name: str, key: dict[str, Any], build: Callable[[], bytes]) -> bytes:
        """Return what belongs to this network and ``key``, from the cache or built now."""
        complete = {**self.network.key, **key}
        return self._cache.fetch(f"{self.network.name}-{name}", complete, build)

    def peek(self, name: str, key: dict[str, Any]) -> bytes | None:
        """Return what `fetch` would find in the cache; None if it would be built."""
        complete = {**self.network.key, **key}
        return self._cache.peek(f"{self.network.name}-{name}", complete)

    def profiles(self, part: GraphPart) -> tuple[Profile, ...]:
        """Return the ranges of the shapes of a part's inputs, the usual ones first."""
        inputs = self.shapes[part]["inputs"]
        return tuple(profile(inputs, axes) for axes in self.network.axes(part))

    @cached_property
    def shapes(self) -> PartShapes:
        """The shapes of all inputs and outputs; kept, so that no network has to be loaded."""
        shapes: PartShapes = self.fetch_json("shapes", {}, self.network.shapes)
        return shapes


def _is_graph(data: bytes) -> bool:
    """Tell whether a library can have a reason of its own to refuse this."""
    import onnx

    try:
        return bool(onnx.load_model_from_string(data).graph.node)
    except Exception:  # of the protobuf library, whose errors have no common base
        return False
