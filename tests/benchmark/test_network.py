"""The benchmark: who is measured, what is divided by what, and one line for what goes wrong."""

from __future__ import annotations

import json
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_models import NETWORK, toy_network

from rmpsam_ros.benchmark import network as benchmark
from rmpsam_ros.benchmark.network import MIN_ROUNDS, WARM_UP, Plan, measure_postprocessing
from rmpsam_ros.cli import benchmark as benchmark_command
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.main import build_parser
from rmpsam_ros.runtime import panoptic_network
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executors.onnxruntime_executor import OnnxRuntimeExecutor
from rmpsam_ros.runtime.precision import Agreement
from rmpsam_ros.segmentation.labels import load_label_set


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Calibrate on one frame, and take the comparison with fp32 PyTorch as done."""
    monkeypatch.setattr(panoptic_network, "CALIBRATION_FRAMES", 1)
    monkeypatch.setattr(benchmark, "SCENE_ROUNDS", 2)

    def compare(engine: Any, reference: Any, frames: Any) -> Agreement:
        good = engine.info.precision == "fp32"
        return Agreement(1, *3 * [1.0 if good else 0.5], 0.0, 1.0)

    monkeypatch.setattr(panoptic_network, "compare", compare)


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache") / "engines")


def run(cache_folder: str, *arguments: str) -> None:
    parser = build_parser()
    device = [] if "--device" in arguments else ["--device", "cpu"]
    options = parser.parse_args(["benchmark", "--cache-folder", cache_folder, *device, *arguments])
    options.run(options)


@pytest.fixture(scope="module")
def everything(cache_folder, tmp_path_factory) -> Any:
    """A report and its table, of two networks, two sizes, prompts and a batch."""
    file = tmp_path_factory.mktemp("report") / "report.json"
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(panoptic_network, "CALIBRATION_FRAMES", 1)
        patch.setattr(benchmark, "SCENE_ROUNDS", 2)
        patch.setattr(
            panoptic_network,
            "compare",
            lambda engine, *_: Agreement(
                1, *3 * [float(engine.info.precision == "fp32")], 0.0, 1.0
            ),
        )
        stack.enter_context(toy_network())
        lines: list[str] = []
        patch.setattr(benchmark_command, "print_line", lines.append)
        run(
            *(cache_folder, "--repeats", "2", "--num-threads", "2", "--json", str(file)),
            *("--engines", "onnxruntime:fp32,onnxruntime:int8", "--sizes", "96x64,128x96"),
            *("--prompts", "2", "--batches", "2", "--also", NETWORK),
        )
    return json.loads(file.read_text()), "\n".join(lines)


def test_everybody_is_measured_in_one_run(everything):
    report, _ = everything
    first, second = report["networks"]
    assert (first["model"], second["model"]) == ("rmpsam_r18", NETWORK)
    measured = {
        (row["engine"].split()[0], row["precision"], row["width"], row["batch"], row["prompts"])
        for row in first["rows"]
    }
    variants = [(96, 1, 0), (96, 1, 2), (96, 2, 0), (128, 1, 0)]
    engines = [("torch", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "int8")]
    assert measured == {(*engine, *variant) for engine in engines for variant in variants}
    assert len(first["rows"]) == 12
    assert len(second["rows"]) == 8  # without int8, which it has no form in


def test_times_add_up_and_ratios_are_of_the_yardstick(everything):
    report, _ = everything
    for network in report["networks"]:
        bare = {
            (one["name"], one["layout"], one["width"]): one["times"]
            for one in network["backbones"]
        }
        for row in network["rows"]:
            usual = bare["ResNet-18", "channels first", row["width"]]
            assert len(usual) == row["rounds"] == 2
            assert 0 < row["fastest"] <= row["total"] <= row["slowest"]
            parts = row["preprocess"] + row["inference"] + row["postprocess"]
            assert parts == pytest.approx(row["total"], rel=0.5)
            assert row["ratio"] == pytest.approx(
                row["total"] / row["batch"] / statistics.median(usual), rel=0.01
            )
            assert row["fastest_ratio"] == pytest.approx(
                row["fastest"] / row["batch"] / min(usual), rel=0.01
            )
            assert (row["accepted"] == "") == (row["precision"] == "fp32")
    assert ("backbone of rmpsam_toy", "channels first", 96) in bare


def test_shares_of_prompts_are_of_the_frame_without_them(everything):
    report, _ = everything
    rows = report["networks"][0]["rows"]
    for row in rows:
        (plain,) = [
            other for other in rows
            if (other["engine"], other["precision"], other["width"]) ==
            (row["engine"], row["precision"], row["width"])
            and (other["batch"], other["prompts"]) == (1, 0)
        ]  # fmt: skip
        late = row["late_prompt"] / plain["total"]
        assert row["late_prompt_share"] == pytest.approx(late, rel=0.01)
        assert (row["prompts_share"] is None) == (row["prompts"] == 0)
        if row["prompts"]:
            longer = row["total"] - plain["total"]  # of two rounds, medians are means
            assert row["prompts_share"] * plain["total"] == pytest.approx(longer, abs=1e-6)


def test_the_tables_are_for_people(everything):
    report, output = everything
    assert output.count("| eager PyTorch, bare ResNet-18, channels first") == 4
    assert output.count("| eager PyTorch, bare backbone of rmpsam_toy") == 2
    assert "random weights" in output and "| no |" in output and "| yes |" in output
    assert "onnxruntime in int8 is left out: rmpsam_toy has no form in int8" in output
    assert "post-processing of 40 segments at 1920x1080" in output
    tables = [line for line in output.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {19}
    assert Path("/proc/sys/kernel/osrelease").read_text().strip() not in output
    assert report["machine"]["processor"] in output


def test_time_is_limited_but_everybody_runs_some_rounds():
    plan = Plan(((96, 64),), (), (), rounds=50, seconds=0.0)
    rounds: list[str] = []

    class Counted:
        engine = "counted"
        times: list[Any] = []  # noqa: RUF012

        def measure(self, label_set: Any) -> None:
            rounds.append("engine")

    class Bare:
        def measure(self) -> None:
            rounds.append("bare")

    benchmark._measure_in_turns(Bare(), [Counted()], None, plan, None, print)
    assert rounds == ["bare", "engine"] * (WARM_UP + MIN_ROUNDS)


def test_an_engine_that_fails_is_left_out(cache_folder, monkeypatch, capsys, tmp_path):
    def fail(self: OnnxRuntimeExecutor, part: Any, tensors: Any, **_: Any) -> Any:
        raise EngineError("ONNX Runtime failed: out of memory")

    monkeypatch.setattr(OnnxRuntimeExecutor, "run", fail)
    file = tmp_path / "report.json"
    run(
        *(cache_folder, "--repeats", "1", "--engines", "onnxruntime:fp32", "--prompts", ""),
        *("--sizes", "96x64,64x64", "--json", str(file)),
    )
    assert "failed and is left out: ONNX Runtime failed: out of memory" in capsys.readouterr().out
    (network,) = json.loads(file.read_text())["networks"]
    assert {row["engine"].split()[0] for row in network["rows"]} == {"torch"}


def test_postprocessing_has_the_wanted_segments():
    result = measure_postprocessing(load_label_set("coco_panoptic"))
    assert (result.width, result.height, result.segments) == (1920, 1080, 40)
    assert 0 < result.fastest <= result.median


def test_prompt_boxes_are_boxes():
    boxes = benchmark._boxes(16)
    assert boxes.shape == (16, 4) and boxes.dtype == np.float32
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--sizes", "640"], "size '640' is not like 640x480"),
        (["--sizes", "0x480"], "size '0x480'"),
        (["--sizes", ","], "one size and one repeat at least"),
        (["--prompts", "a"], "invalid literal"),
        (["--prompts", "-1"], "prompts must be at least 0"),
        (["--batches", "0"], "batches at least 1"),
        (["--repeats", "0"], "one repeat at least"),
        (["--engines", "abacus:fp32"], "abacus:fp32.*are not available"),
        (["--device", "tpu"], "device 'tpu' is unknown"),
        (["--labels", "none_such"], "none_such"),
        (["--model", "rmpsam_r99"], "rmpsam_r99"),
        (["--also", "rmpsam_r99"], "rmpsam_r99"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, what, cache_folder, monkeypatch):
    monkeypatch.setattr(
        benchmark_command,
        "measure_network",
        lambda *_: benchmark_command.NetworkReport("", "", (), ()),
    )
    with pytest.raises(CommandError, match=what) as caught:
        run(cache_folder, *arguments)
    assert "\n" not in str(caught.value)


def test_a_report_that_cannot_be_written_is_one_line(cache_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        benchmark_command,
        "measure_network",
        lambda *_: benchmark_command.NetworkReport("", "", (), ()),
    )
    with pytest.raises(CommandError, match="cannot be written"):
        run(cache_folder, "--json", str(tmp_path / "no" / "such" / "folder"))
