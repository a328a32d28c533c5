"""NVIDIA's parser and builder take every graph that is exported for TensorRT.

TensorRT-RTX has the same parser and builder as TensorRT and works without a GPU; it stands in
where it is installed (requirements/test-runtime.txt, which ``make test`` installs).
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from small_engines import profiles

from rmpsam_ros.export import GRAPH_PARTS, ExportForm, export_graph
from rmpsam_ros.model import MODEL_CONFIGS, RmpSam, build_model, random_text_embeddings
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executors import tensorrt_build
from rmpsam_ros.runtime.executors.tensorrt_build import BuildSettings, build_plan
from rmpsam_ros.runtime.executors.tensorrt_executor import WORKSPACES, TensorRT
from rmpsam_ros.runtime.precision import preprocessed_frames
from rmpsam_ros.runtime.slots import ShapeRange

FORMS = TensorRT.forms


@cache
def all_profiles() -> dict[str, Any]:
    """Ranges of the inputs of all parts; they are those of every network."""
    return profiles(build_model("rmpsam_r18"), GRAPH_PARTS, 5)


pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def rtx() -> types.ModuleType:
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT-RTX is not installed: see requirements/test-runtime.txt"
    )


def graph_bytes(network: Any, part: Any, form: ExportForm) -> bytes:
    frames = None
    if form.quantization != "none":
        frames = [image for image, _ in preprocessed_frames(1, limits=(128, 96))]
    return export_graph(network, part, form, frames).SerializeToString()


def build(rtx: types.ModuleType, graph: bytes, part: str, **options: Any) -> bytes:
    lines: list[str] = options.pop("lines", [])
    cancelled = options.pop("cancelled", threading.Event())
    settings = BuildSettings(all_profiles()[part][:1], tensor_float_32=True, level=0, **options)
    return build_plan(rtx, graph, settings, lines.append, cancelled)


@pytest.fixture(scope="module")
def networks(network) -> Callable[[str], RmpSam]:
    """Networks by the name of their configuration, each made once."""
    made = {"rmpsam_r18": network}

    def get(name: str) -> RmpSam:
        if name not in made:
            made[name] = build_model(name, random_text_embeddings("tensorrt", 7, 2))
        return made[name]

    return get


# Decoders are the same in every precision. Megabytes say that weights have the wanted type.
LIMITS = {
    ("rmpsam_r18", "fp32"): (48, 56),
    ("rmpsam_r18", "fp16"): (24, 30),
    ("rmpsam_r18", "bf16"): (24, 30),
    ("rmpsam_r18", "int8"): (13, 20),
    ("rmpsam_tiny_vit", "fp32"): (40, 56),
    ("rmpsam_tiny_vit", "fp16"): (20, 38),
    ("rmpsam_tiny_vit", "bf16"): (20, 38),
    ("rmpsam_tiny_vit_lite0", "fp32"): (52, 70),
    ("rmpsam_tiny_vit_lite0", "fp16"): (26, 46),
    ("rmpsam_tiny_vit_lite0", "bf16"): (26, 46),
}


def cases(*more: tuple[str, str]) -> list[Any]:
    """Every network in every precision; the usual tests build a network of each kind."""
    usual = {("rmpsam_r18", "fp16"), ("rmpsam_r18", "int8"), ("rmpsam_tiny_vit_lite0", "bf16")}
    return [
        pytest.param(*case, marks=() if case in usual else pytest.mark.exhaustive)
        for case in [*LIMITS, *more]
    ]


@pytest.mark.parametrize(("name", "precision"), cases())
def test_every_encoder_builds_in_every_precision(rtx, networks, name, precision):
    graph = graph_bytes(networks(name), "encoder", FORMS[precision])
    low, high = LIMITS[name, precision]
    assert low < len(build(rtx, graph, "encoder")) / 1e6 < high


@pytest.mark.parametrize("part", ["decoder", "prompt_decoder", "tube_decoder"])
@pytest.mark.parametrize(
    "name",  # the others': the same
    ["rmpsam_r18", pytest.param("rmpsam_tiny_vit", marks=pytest.mark.exhaustive)],
)
def test_every_decoder_builds(rtx, networks, name, part):
    graph = graph_bytes(networks(name), part, FORMS["fp32"])
    options = {"workspace": WORKSPACES[part]} if part in WORKSPACES else {}
    assert len(build(rtx, graph, part, **options)) > 20e6


@pytest.mark.parametrize(
    ("name", "precision"), cases(("rmpsam_r50", "fp16"), ("rmpsam_r50", "int8"))
)
def test_every_whole_frame_builds_in_every_precision(rtx, networks, name, precision):
    """With several images and prompts in the range: this is what a camera node executes."""
    graph = graph_bytes(networks(name), "frame", FORMS[precision])
    assert all_profiles()["frame"][0]["image"].largest[0] > 1
    assert len(build(rtx, graph, "frame")) > 50e6


def test_nothing_is_left_out():
    """Every model and precision that TensorRT may be asked for is in the tables above."""
    assert {precision for _, precision in LIMITS} == set(FORMS)
    assert {name for name, _ in LIMITS} | {"rmpsam_r50", "rmpsam_lite"} == set(MODEL_CONFIGS)
    assert set(all_profiles()) == set(GRAPH_PARTS)


def test_a_precision_that_a_backbone_lacks_is_refused(networks):
    with pytest.raises(ValueError, match="no form in eight bits"):
        graph_bytes(networks("rmpsam_tiny_vit"), "encoder", FORMS["int8"])


def test_the_form_of_onnxruntime_is_refused_with_a_reason(rtx, network):
    graph = graph_bytes(network, "encoder", ExportForm("operator"))
    with pytest.raises(EngineError, match=r"(?i)cannot read the graph: .*DeformConv.*plugin"):
        build(rtx, graph, "encoder")


@pytest.mark.parametrize("graph", [b"", b"no graph"])
def test_something_else_than_a_graph_is_refused(rtx, graph):
    with pytest.raises(EngineError, match=r"cannot read the graph|build failed"):
        build(rtx, graph, "encoder")


def test_a_failing_build_says_why(rtx, graphs):
    profiles = ({"image": ShapeRange(*3 * [(1, 4, 64, 64)])},)
    settings = BuildSettings(profiles, tensor_float_32=False, level=0)
    graph = graphs("encoder", ExportForm("grid_sample"))
    with pytest.raises(EngineError, match=r"build failed: .+"):
        build_plan(rtx, graph, settings, print, threading.Event())


def test_a_cancelled_build_ends(rtx, graphs):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(EngineError, match="cancelled"):
        build(rtx, graphs("encoder", ExportForm("grid_sample")), "encoder", cancelled=cancelled)


def test_a_build_reports_its_progress(rtx, graphs, monkeypatch):
    monkeypatch.setattr(tensorrt_build, "_REPORT_INTERVAL", 0.0)
    lines: list[str] = []
    build(rtx, graphs("encoder", ExportForm("grid_sample")), "encoder", lines=lines)
    assert lines and all("building the TensorRT engine: " in line for line in lines)
    percents = [int(line.split()[-2]) for line in lines]
    assert all(0 < percent <= 100 for percent in percents)


def test_the_keyboard_cancels_a_build(graphs, monkeypatch):
    """The build goes on in another thread; an interrupt reaches it as a cancelled build."""
    started, cancelled = threading.Event(), threading.Event()
    ended: list[bool] = []

    def slow_build(*arguments: Any) -> bytes:
        started.set()
        ended.append(cancelled.wait(10))
        return b""

    class InterruptedFuture:
        def result(self, timeout: float) -> bytes:
            assert started.wait(10)
            raise KeyboardInterrupt

        def done(self) -> bool:
            return False

    class Executor(tensorrt_build.ThreadPoolExecutor):  # type: ignore[name-defined, misc]
        def submit(self, *arguments: Any) -> Any:
            super().submit(*arguments)
            return InterruptedFuture()

    monkeypatch.setattr(tensorrt_build, "_build", slow_build)
    monkeypatch.setattr(tensorrt_build, "ThreadPoolExecutor", Executor)
    with pytest.raises(KeyboardInterrupt):
        build_plan(None, b"", BuildSettings((), False), print, cancelled)
    assert ended == [True]


def test_who_is_told_of_the_progress_can_end_the_build(monkeypatch):
    """So does a node that is stopped while it builds its engine at its first start."""
    cancelled = threading.Event()
    told: list[int] = []

    def slow_build(trt: Any, graph: Any, settings: Any, progress: Any, stop: Any) -> bytes:
        progress("10 %")
        assert stop.wait(10)
        raise EngineError("the TensorRT build was cancelled")

    def progress(line: str) -> None:
        told.append(threading.get_ident())
        raise InterruptedError("stopped while loading")

    monkeypatch.setattr(tensorrt_build, "_build", slow_build)
    with pytest.raises(InterruptedError, match="stopped while loading"):
        build_plan(None, b"", BuildSettings((), False), progress, cancelled)
    assert cancelled.is_set() and told == [threading.get_ident()]


def test_a_failing_build_does_not_cancel_those_that_come_next(monkeypatch):
    def fail(*arguments: Any) -> bytes:
        raise EngineError("out of memory")

    monkeypatch.setattr(tensorrt_build, "_build", fail)
    cancelled = threading.Event()
    with pytest.raises(EngineError, match="out of memory"):
        build_plan(None, b"", BuildSettings((), False), print, cancelled)
    assert not cancelled.is_set()


def test_no_line_is_lost_when_a_build_ends_at_once(monkeypatch):
    def quick(trt: Any, graph: Any, settings: Any, progress: Any, stop: Any) -> bytes:
        progress("99 %")
        return b"plan"

    monkeypatch.setattr(tensorrt_build, "_build", quick)
    lines: list[str] = []
    assert build_plan(None, b"", BuildSettings((), False), lines.append, threading.Event())
    assert lines == ["99 %"]


@pytest.mark.parametrize(
    ("name", "version", "flags"),
    [("tensorrt", "10.3.0", 2), ("tensorrt", "11.4.0.106", 0), ("tensorrt_rtx", "1.7.1", 0)],
)
def test_networks_are_strongly_typed_in_every_version(name, version, flags):
    kinds = types.SimpleNamespace(STRONGLY_TYPED=1)
    trt = types.SimpleNamespace(
        __name__=name, __version__=version, NetworkDefinitionCreationFlag=kinds
    )
    assert tensorrt_build._network_flags(trt) == flags
