"""The sub-commands: what they write and print, and one line for what they cannot do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from rmpsam_ros.cli import build_engine
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.main import build_parser, main
from rmpsam_ros.export import GRAPH_PARTS
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
from rmpsam_ros.runtime import panoptic_network
from rmpsam_ros.runtime.precision import Agreement

NETWORK = ("--device", "cpu", "--weights", "random")


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Calibrate on one frame, and take the comparison with fp32 PyTorch as done."""
    monkeypatch.setattr(panoptic_network, "CALIBRATION_FRAMES", 1)

    def compare(engine: Any, reference: Any, frames: Any) -> Agreement:
        good = engine.info.precision == "fp32"
        return Agreement(1, *3 * [1.0 if good else 0.5], 0.0, 1.0)

    monkeypatch.setattr(panoptic_network, "compare", compare)


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache") / "engines")


def run(*arguments: str) -> None:
    parser = build_parser()
    options = parser.parse_args(arguments)
    options.run(options)


def test_export_writes_every_part(tmp_path, capsys):
    target = ("--target", "onnxruntime", "--precision", "int8")
    run("export", str(tmp_path / "out"), *target, "--weights", "random")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == sorted(f"rmpsam_{part}.onnx" for part in GRAPH_PARTS)
    assert capsys.readouterr().out.count("wrote ") == len(GRAPH_PARTS)
    operators = {
        node.op_type for node in onnx.load(tmp_path / "out" / "rmpsam_frame.onnx").graph.node
    }
    assert {"DeformConv", "QuantizeLinear"} <= operators


def test_export_refuses_what_the_target_lacks(tmp_path):
    with pytest.raises(CommandError, match="onnxruntime has the precisions fp32, int8"):
        run("export", str(tmp_path), "--target", "onnxruntime", "--precision", "fp16")


def test_export_into_a_file_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CommandError, match="file"):
        run("export", str(file))


def test_build_engine_builds_what_the_node_would_without_any_option():
    parser = build_parser()
    options = vars(parser.parse_args(["build-engine"]))
    node = {one.name: one.default for group in NODE_PARAMETERS.values() for one in group}
    common = options.keys() & node.keys()
    assert {name: options[name] for name in common} == {name: node[name] for name in common}
    assert common >= {"weights", "model", "engine", "device", "clip_frames", "prompt_engine"}


def test_build_engine_says_what_runs(cache_folder, capsys):
    run("build-engine", *NETWORK, "--cache-folder", cache_folder, "--prompt-engine", "rmpsam")
    output = capsys.readouterr().out
    assert "ready: rmpsam_r18 (random weights" in output and "onnxruntime" in output
    assert "agrees with fp32 PyTorch in 100.00% of pixels" in output


def test_build_engine_builds_that_of_the_prompts_too(cache_folder, monkeypatch, capsys):
    """With the device and the cache of the network, in which the node looks, too."""
    asked, closed = [], []
    engine = SimpleNamespace(info="mobile_sam on tensorrt", close=lambda: closed.append(True))
    monkeypatch.setattr(
        build_engine, "load_prompt_engine", lambda *values: asked.append(values) or engine
    )
    arguments = (*NETWORK, "--cache-folder", cache_folder)
    run("build-engine", *arguments, "--prompt-engine", "mobile_sam", "--prompt-weights", "w.pth")
    ((prompting, network, progress),) = asked
    assert (prompting.engine, prompting.weights) == ("mobile_sam", "w.pth")
    assert (network.device, network.cache_folder) == ("cpu", cache_folder)
    assert capsys.readouterr().out.endswith("ready: mobile_sam on tensorrt\n") and closed
    progress("building")
    assert capsys.readouterr().out == "building\n"


def test_build_engine_says_why_there_is_none_for_prompts(cache_folder, tmp_path):
    network = (*NETWORK, "--cache-folder", cache_folder)
    prompts = ("--prompt-engine", "mobile_sam", "--prompt-weights", str(tmp_path / "missing.pth"))
    with pytest.raises(CommandError, match=r"missing.pth' of the prompt engine are not a file"):
        run("build-engine", *network, *prompts)


def test_build_engine_tells_its_progress_and_can_be_interrupted(monkeypatch, capsys):
    """Ctrl-C reaches a TensorRT build as a cancelled one: tests of tensorrt_build.build_plan."""

    def load_engine(config: Any, num_classes: int, progress: Any) -> Any:
        progress("building the TensorRT engine: Tactics, 12 %")
        assert "Tactics, 12 %" in capsys.readouterr().out  # at once, not at the end
        raise KeyboardInterrupt

    monkeypatch.setattr(build_engine, "load_engine", load_engine)
    assert main(["build-engine", "--device", "cpu"]) == 130
    assert capsys.readouterr().err == "rmpsam build-engine: interrupted\n"
