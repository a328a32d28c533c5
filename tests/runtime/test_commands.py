"""The sub-commands: what they write and print, and one line for what they cannot do."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from rmpsam_ros.commands import CommandError
from rmpsam_ros.runtime import commands
from rmpsam_ros.runtime import factory as factory_module
from rmpsam_ros.runtime.precision import Agreement


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Calibrate on one frame, and take the comparison with fp32 PyTorch as done."""
    monkeypatch.setattr(factory_module, "CALIBRATION_FRAMES", 1)

    def compare(engine: Any, reference: Any, frames: Any) -> Agreement:
        good = engine.info.precision == "fp32"
        return Agreement(1, *3 * [1.0 if good else 0.5], 0.0)

    monkeypatch.setattr(factory_module, "compare", compare)


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache") / "engines")


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    commands.add_parsers(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    options.run(options)


def test_export_writes_every_part(tmp_path, capsys):
    run("export", str(tmp_path / "out"), "--target", "onnxruntime", "--precision", "int8")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    parts = ("decoder", "encoder", "frame", "prompt_decoder")
    assert files == [f"rmpsam_{part}.onnx" for part in parts]
    assert capsys.readouterr().out.count("wrote ") == 4
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


def test_build_engine_says_what_runs(cache_folder, capsys):
    run("build-engine", "--device", "cpu", "--cache-folder", cache_folder)
    output = capsys.readouterr().out
    assert "ready: rmpsam_r18 (random weights" in output and "onnxruntime" in output
    assert "agrees with fp32 PyTorch in 100.00% of pixels" in output


def test_benchmark_measures_everybody_in_one_run(cache_folder, tmp_path, capsys):
    report_file = tmp_path / "report.json"
    run(
        *("benchmark", "--device", "cpu", "--cache-folder", cache_folder, "--repeats", "2"),
        *("--engines", "onnxruntime:fp32,onnxruntime:int8", "--sizes", "96x64"),
        *("--prompts", "0,2", "--json", str(report_file), "--num-threads", "2"),
    )
    table = capsys.readouterr().out
    report = json.loads(report_file.read_text())
    rows = report["rows"]
    assert len(rows) == 2 * 3  # numbers of prompts, engines with eager PyTorch
    assert {(row["width"], row["height"]) for row in rows} == {(96, 64)}
    assert {row["engine"].split()[0] for row in rows} == {"torch", "onnxruntime"}
    for row in rows:
        parts = row["preprocess"] + row["inference"] + row["postprocess"]
        assert (
            0 < row["fastest"] <= row["total"] <= row["slowest"] and 0.3 < parts / row["total"] < 3
        )
        assert row["late_prompt"] > 0 and row["ratio"] > 0
        assert (row["accepted"] == "") == (row["precision"] == "fp32")
    usual = report["backbone"]["96x64"]["channels first"]
    assert rows[0]["ratio"] == pytest.approx(rows[0]["total"] / (sum(usual) / 2), rel=0.01)
    assert rows[0]["fastest_ratio"] == pytest.approx(rows[0]["fastest"] / min(usual), rel=0.01)
    assert table.count("| eager PyTorch, bare backbone") == 2
    assert Path("/proc/sys/kernel/osrelease").read_text().strip() not in table
    assert "random weights" in table and "| no |" in table and "| yes |" in table


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--sizes", "640"], "size '640' is not like 640x480"),
        (["--sizes", "0x480"], "size '0x480'"),
        (["--prompts", "a"], "invalid literal"),
        (["--prompts", "-1"], "prompts at least 0"),
        (["--repeats", "0"], "repeats must be at least 1"),
        (["--engines", "abacus:fp32"], "abacus:fp32.*are not available"),
        (["--device", "tpu"], "device 'tpu' is unknown"),
        (["--labels", "none_such"], "none_such"),
        (["--model", "rmpsam_r99"], "rmpsam_r99"),
    ],
)
def test_benchmark_says_in_one_line_what_is_wrong(arguments, what, cache_folder):
    defaults = [] if "--device" in arguments else ["--device", "cpu"]
    with pytest.raises(CommandError, match=what) as caught:
        run("benchmark", "--cache-folder", cache_folder, *defaults, *arguments)
    assert "\n" not in str(caught.value)
