"""Many clients at once, each of them a real one, at a real node."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.srv", reason="needs the built package (make build)")


def test_many_clients_are_all_answered(ros):
    """A short run of the tool that the figures come from."""
    tool = Path(__file__).resolve().parents[2] / "tools" / "soak" / "prompt_storm.py"
    options = {
        "clients": 8,
        "seconds": 4,
        "warm-up": 2,
        "quiet": 0.5,
        "pause": 0.05,
        "network-side": 96,
        "set": "num_threads:=1",
    }
    command = [sys.executable, str(tool), "--set", "prompt_timeout:=60.0"]
    command += ["--set", "stall_timeout:=120.0"]  # a busy machine is no hanging network
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    figures = json.loads(run.stdout)
    assert figures["unanswered"] == 0
    assert figures["requests"] > 50
    # BUSY as well, unless the machine is so slow that no client is too fast.
    assert {"OK", "INVALID_REQUEST", "FRAME_NOT_KEPT"} <= set(figures["answers"])
    assert "INTERNAL_ERROR" not in figures["answers"]
    assert figures["frame_rate"]["with"] > 0.0
    assert figures["after"]["threads"] <= figures["before"]["threads"] + 4
