"""Entries of the cache that are whole and yet make no sense: replaced, not a failure for ever."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rmpsam_ros.export import ExportForm
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.factory import EngineFactory
from rmpsam_ros.runtime.graph_store import GraphStore, Surroundings

onnx = pytest.importorskip("onnx", reason="graphs are ONNX")
FORM = ExportForm("operator")


def small_graph() -> bytes:
    kind = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    shapes = [kind("x", 1, [1])], [kind("y", 1, [1])]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "small", *shapes))
    return bytes(model.SerializeToString())


class Network:
    """Counts how often it is exported."""

    name, parts, computes, runs_beside = "small", ("frame",), frozenset({"frame"}), False
    has_int8, key = False, {"weights": "none"}

    def __init__(self):
        self.exported = 0

    def export(self, part, form):
        self.exported += 1
        return small_graph()

    def shapes(self):
        return {"frame": {"inputs": {"x": [1]}, "outputs": {"y": [1]}}}

    def info(self, *parts):
        return parts

    def engine(self, executor, info, shapes):
        return executor


class Library:
    """Parses the graph, as every library does first."""

    name = "parser"

    def version(self):
        return "1"

    def load(self, store, precision, mode):
        graph = store.graphs(FORM)["frame"]
        return SimpleNamespace(detail="", nodes=len(onnx.load_model_from_string(graph).graph.node))


@pytest.fixture
def lines():
    return []


@pytest.fixture
def factory(tmp_path, lines):
    """Make a factory of a new process on the same cache."""

    def make():
        cache = EngineCache(tmp_path / "cache", lines.append)
        surroundings = Surroundings(torch.device("cpu"), cache, progress=lines.append)
        return EngineFactory(Network(), surroundings)

    return make


def put(folder: Path, start: str, content: bytes) -> None:
    """Replace an entry by garbage with a right checksum."""
    (engine,) = folder.glob(f"{start}*.engine")
    sidecar = engine.with_suffix(".json")
    description = json.loads(sidecar.read_text())
    description["sha256"] = hashlib.sha256(content).hexdigest()
    engine.write_bytes(content)
    sidecar.write_text(json.dumps(description))


@pytest.mark.parametrize("content", [b"garbage", b"\xff" * 5000])
def test_a_graph_that_is_none_is_made_anew(content, factory, tmp_path, lines):
    assert factory()._load(Library(), "fp32", "").nodes == 1
    put(tmp_path / "cache", "small-frame", content)
    second = factory()
    assert second._load(Library(), "fp32", "").nodes == 1
    assert second.network.exported == 1
    assert any("in the cache are none: made anew" in line for line in lines)
    third = factory()
    assert third._load(Library(), "fp32", "").nodes == 1
    assert third.network.exported == 0, "the new one is kept"


def test_a_library_that_refuses_a_good_graph_is_not_asked_twice(factory):
    class Refusing(Library):
        def load(self, store, precision, mode):
            store.graphs(FORM)
            raise EngineError("no such operator")

    made = factory()
    for _ in range(2):
        with pytest.raises(EngineError, match="no such operator"):
            made._load(Refusing(), "fp32", "")
    assert made.network.exported == 1


@pytest.mark.parametrize("content", [b"garbage", b"[" * 100_000])
def test_shapes_that_are_no_json_are_made_anew(content, factory, tmp_path):
    expected = factory().store.shapes
    put(tmp_path / "cache", "small-shapes", content)
    store: GraphStore = factory().store
    assert store.peek_json("shapes", {}) is None
    assert store.shapes == expected
    assert store.peek_json("shapes", {}) == expected
