"""TensorRT engines in the cache: built once, never trusted, built anew when TensorRT refuses."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch

from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.runtime.back_end import back_end
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import RefusedPlanError
from rmpsam_ros.runtime.executors import tensorrt_executor
from rmpsam_ros.runtime.factory import EngineFactory
from rmpsam_ros.runtime.graph_store import GraphStore, Surroundings
from rmpsam_ros.runtime.panoptic_network import PanopticNetwork

PARTS = 2  # whole frames and late prompts


class Workshop:
    """A TensorRT that numbers the plans it builds, and refuses some when it loads them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, network: Any) -> None:
        self.built: list[bytes] = []
        self.refused: set[bytes] = set()
        self.gpu = "some GPU"
        self.version = "10.16.1"
        self.failure: EngineError | None = None
        self.lines: list[str] = []
        self._folder = folder
        self._network = network
        monkeypatch.setattr(tensorrt_executor, "load_tensorrt", self._module)
        monkeypatch.setattr(tensorrt_executor, "build_plan", self._build)
        monkeypatch.setattr(tensorrt_executor, "TensorRTExecutor", self._load)
        monkeypatch.setattr(tensorrt_executor, "gpu_key", lambda device: {"gpu": self.gpu})
        monkeypatch.setattr(GraphStore, "graph", lambda *arguments: b"graph")

    def _module(self) -> Any:
        return types.SimpleNamespace(__name__="tensorrt", __version__=self.version)

    def _build(self, *arguments: Any) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.built.append(b"plan %d" % len(self.built))
        return self.built[-1]

    def _load(self, trt: Any, plans: dict[str, bytes], *arguments: Any) -> Any:
        if self.refused & set(plans.values()):
            raise RefusedPlanError("TensorRT refuses the engine: wrong device")
        device = torch.device("cpu")
        return types.SimpleNamespace(detail="", plans=list(plans.values()), device=device)

    def make(self, precision: Any = "fp16") -> Any:
        """What a node does when it starts: the plans that are executed."""
        cache = EngineCache(self._folder, self.lines.append)
        factory = EngineFactory(
            PanopticNetwork(self._network, EngineConfig(model="rmpsam_r18")),
            Surroundings(torch.device("cpu"), cache, progress=self.lines.append),
        )
        engine = factory._load(back_end("tensorrt"), precision, "")
        return engine._executor.plans

    def files(self, suffix: str) -> list[Path]:
        return sorted(self._folder.glob(f"*tensorrt*{suffix}"))


@pytest.fixture
def workshop(monkeypatch, tmp_path, network) -> Workshop:
    return Workshop(monkeypatch, tmp_path / "cache", network)


def test_built_at_the_first_start_only(workshop):
    assert workshop.make() == [b"plan 0", b"plan 1"] == workshop.make()
    assert len(workshop.built) == PARTS
    assert sum("building the TensorRT engine" in line for line in workshop.lines) == PARTS


def test_an_engine_that_tensorrt_refuses_is_built_anew(workshop):
    workshop.make()
    workshop.refused = {b"plan 1"}
    assert workshop.make() == [b"plan 2", b"plan 3"]
    assert sum("anew: TensorRT refuses the engine" in line for line in workshop.lines) == 1
    assert workshop.make() == [b"plan 2", b"plan 3"]


def test_a_new_engine_that_is_refused_again_is_an_error_and_no_endless_loop(workshop):
    workshop.refused = {b"plan %d" % number for number in range(100)}
    with pytest.raises(EngineError, match="refuses the engine"):
        workshop.make()
    assert len(workshop.built) == 2 * PARTS


@pytest.mark.parametrize("damage", [lambda data: data[:-2], lambda data: b"", lambda data: b"??"])
def test_a_damaged_engine_never_reaches_tensorrt(workshop, damage):
    workshop.make()
    path = workshop.files(".engine")[0]
    path.write_bytes(damage(path.read_bytes()))
    assert b"plan 2" in workshop.make()
    assert sum("is damaged, building anew" in line for line in workshop.lines) == 1


def test_an_engine_of_another_gpu_version_or_precision_is_another_engine(workshop):
    first = workshop.make()
    workshop.gpu = "another GPU"
    second = workshop.make()
    workshop.version = "11.4.0"
    third = workshop.make()
    fourth = workshop.make("fp32")
    assert len({*first, *second, *third, *fourth}) == 4 * PARTS
    workshop.gpu, workshop.version = "some GPU", "10.16.1"
    assert workshop.make() == first


def test_a_build_that_fails_or_is_cancelled_leaves_nothing(workshop):
    workshop.failure = EngineError("the TensorRT build was cancelled")
    with pytest.raises(EngineError, match="cancelled"):
        workshop.make()
    assert workshop.files(".engine") == workshop.files(".json") == []
    workshop.failure = None
    assert workshop.make() == [b"plan 0", b"plan 1"]
