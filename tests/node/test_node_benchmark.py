"""The measuring of the node: figures, the search for the peak, and one short real run."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rmpsam_ros.benchmark.node.figures import Run, Spread, find_peak, format_table


def run_at(rate, answered=None, sent=100, slow=1.0):
    """A run in which the playback kept `slow` times the rate."""
    return Run(
        rate=rate,
        seconds=(sent - 1) / (rate * slow),
        sent=sent,
        answered=sent if answered is None else answered,
        received=sent,
        processed=sent,
        dropped=0,
        failed=0,
        end_to_end=Spread.of([30.0]),
        stages={"wait": Spread.of([1.0]), "inference": Spread.of([20.0, 22.0])},
        around=Spread.of([4.0, 5.0]),
        cpu=0.5,
        memory=500.0,
    )


def test_spreads():
    spread = Spread.of([float(k) for k in range(101)])
    assert (spread.mean, spread.p50, spread.p99, spread.longest) == (50.0, 50.0, 99.0, 100.0)
    assert Spread.of([]) == Spread(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("answered", "slow", "sustained"),
    [(100, 1.0, True), (96, 1.0, True), (95, 1.0, False), (0, 1.0, False), (100, 0.94, False)],
)
def test_a_rate_is_sustained_with_less_than_five_percent_lost(answered, slow, sustained):
    run = run_at(20.0, answered, slow=slow)
    assert run.sustained is sustained
    assert run.sent_rate == pytest.approx(20.0 * slow)
    assert run.answered_rate == pytest.approx(20.0 * slow * answered / 100)


def test_a_run_without_images_is_not_sustained():
    assert not run_at(20.0, sent=0).sustained


@pytest.mark.parametrize("capacity", [1.0, 3.0, 11.0, 64.0, 70.0, 499.0, 500.0, 9000.0])
def test_the_peak_is_found(capacity):
    tried = []

    def measure(rate):
        tried.append(rate)
        return run_at(rate, 100 if rate <= capacity else 50)

    peak = find_peak(measure, 1.0, 500.0)
    wanted = min(capacity, 500.0)
    assert wanted / 1.08 <= peak.rate <= wanted
    assert len(tried) <= 16


def test_a_node_that_sustains_nothing_has_no_peak():
    assert find_peak(lambda rate: run_at(rate, 0), 1.0, 500.0) is None


def test_the_table_names_sizes_and_runs():
    table = format_table({"640x480": {"peak": run_at(20.0), "10 Hz": run_at(10.0, 50)}})
    rows = [line.split(" | ") for line in table.splitlines()]
    assert [row[1] for row in rows[2:]] == ["peak", "10 Hz, overloaded"]
    assert rows[2][5] == "4.5 (5.0)" and rows[3][4] == "50.0 %"
    assert len({len(row) for row in rows if len(row) > 1}) == 1


def test_without_ros_the_command_says_what_is_missing(monkeypatch, capsys):
    from rmpsam_ros.cli.main import main

    monkeypatch.setitem(sys.modules, "rclpy", None)
    monkeypatch.delitem(sys.modules, "rmpsam_ros.benchmark.node.run", raising=False)
    assert main(["benchmark", "--node"]) == 1
    assert "needs ROS 2" in capsys.readouterr().err


@pytest.mark.parametrize("rates", ["fast", "0", "10,-1"])
def test_bad_rates_are_refused(rates, capsys, ros):
    from rmpsam_ros.cli.main import main

    assert main(["benchmark", "--node", "--rates", rates]) == 1
    assert repr(rates) in capsys.readouterr().err


def test_stamps_are_read_from_serialized_messages(ros):
    from builtin_interfaces.msg import Time
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from rmpsam_ros.benchmark.node.monitor import stamp_of, within

    header = Header(stamp=Time(sec=1_700_000_000, nanosec=123456789), frame_id="x")
    stamp = stamp_of(serialize_message(Image(header=header, data=[1, 2, 3])))
    assert stamp == 1_700_000_000_123_456_789
    assert stamp_of(b"\x00\x00\x00\x00" + bytes([0, 0, 0, 2, 0, 0, 0, 7])) == 2_000_000_007
    latency = SimpleNamespace(header=header)
    assert within(latency, stamp, stamp) and not within(latency, stamp + 1, stamp + 2)


def test_made_up_images_are_of_one_size_and_differ(ros):
    from rmpsam_ros.benchmark.node.playback import BUFFERED, made_up_frames, messages

    images = messages(made_up_frames(64, 48), 64, 48)
    assert len(images) == BUFFERED
    assert {(one.width, one.height, one.encoding, len(one.data)) for one in images} == {
        (64, 48, "bgr8", 64 * 48 * 3)
    }
    assert len({bytes(one.data) for one in images}) == BUFFERED


def test_the_real_node_is_measured(ros, tmp_path):
    """One short run, with a search that ends at 2 Hz."""
    report = tmp_path / "report.json"
    small = ["weights:=random", "engine:=torch", "num_threads:=1", "prompt_engine:=rmpsam"]
    small += ["long_side:=96", "short_side:=96"]
    code = (
        "from pathlib import Path; from rmpsam_ros.benchmark.node import run\n"
        "run.LOWEST_RATE = run.HIGHEST_RATE = 2.0\n"
        f"run.run_node_benchmark([(320, 240)], [2.0], 5.0, {small}, '', Path('{report}'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| 320x240 | 2 Hz |" in run.stdout
    figures = json.loads(report.read_text())
    assert "random weights" in figures["network"]
    row = figures["runs"]["320x240"]["2 Hz"]
    assert row["sent"] == 10
    assert 0 < row["answered"] <= row["processed"] <= row["received"] <= row["sent"]
    assert row["received"] == row["processed"] + row["dropped"] + row["failed"]
    assert row["end_to_end"]["p50"] > row["stages"]["inference"]["p50"] > 0.0
    assert row["around"]["p99"] > 0.0 and row["cpu"] > 0.0 and row["memory"] > 100.0


PLAYING = "64x48 at 2.0 Hz for 1 s"  # the line before a run of minutes


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, PLAYING), (signal.SIGTERM, "")],
    ids=["playing", "loading"],
)
def test_a_signal_ends_it_and_all_that_it_started(number, moment, ros, tmp_path, wait_for):
    code = (
        "import sys; from rmpsam_ros.cli.main import main\n"
        "from rmpsam_ros.benchmark.node import run\n"
        "run.LOWEST_RATE = run.HIGHEST_RATE = 2.0; run.PROBE_SECONDS = 1.0\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    options = ["--weights", "random", "--sizes", "64x48", "--rates", "2", "--seconds", "300"]
    for one in ("engine:=torch", "prompt_engine:=rmpsam", "long_side:=96", "short_side:=96"):
        options += ["--set", one]
    log = tmp_path / "log"
    with log.open("w") as file:
        run = subprocess.Popen(
            [sys.executable, "-c", code, "benchmark", "--node", "--num-threads", "1", *options],
            cwd=tmp_path,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    threads = Path(f"/proc/{run.pid}/task")

    def started():
        if moment not in log.read_text():
            return []
        return [pid for one in threads.iterdir() for pid in (one / "children").read_text().split()]

    others = []
    try:
        others = wait_for(lambda: run.poll() is None and started(), "what it starts")
        time.sleep(0.5)
        run.send_signal(number)
        assert run.wait(9.0) == 130, log.read_text()
        assert log.read_text().rstrip().endswith("interrupted")
        assert not [pid for pid in others if Path(f"/proc/{pid}").exists()]
    finally:
        run.kill()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def test_a_node_that_cannot_start_is_one_clear_error(ros, tmp_path):
    code = (
        "from rmpsam_ros.benchmark.node import run\n"
        "run.run_node_benchmark([(64, 48)], [4.0], 1.0, ['long_side:=1'], '', None)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode != 0
    assert "the node has ended" in run.stderr and "long_side" in run.stderr
