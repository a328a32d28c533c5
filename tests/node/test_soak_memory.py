"""What the soak calls flat memory."""

import importlib.util
import math
import random
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def judge():
    path = Path(__file__).resolve().parents[1] / "tools" / "soak_memory.py"
    spec = importlib.util.spec_from_file_location("soak_memory", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.judge_memory


def run(seconds=1800, **leaks):
    """Figures of a run: filling up, with swings, and leaks per hour."""
    swing = random.Random(3)
    rows = []
    for second in range(seconds):
        filling = 1.0 - math.exp(-second / 100.0)
        rows.append(
            {
                "time": 5000.0 + second,
                "resident": 600.0 + 250.0 * filling,
                "shared": 40.0,
                "in use": 300.0 + 120.0 * filling + swing.gauss(0.0, 20.0),
                "free": 100.0,
                "python blocks": 800_000 + 30_000 * filling,
                "threads": 30,
                "files": 28,
            }
        )
        for name, per_hour in leaks.items():
            rows[-1][name.replace("_", " ")] += per_hour * second / 3600.0
    return rows


def test_filling_up_is_no_leak(judge):
    figures, problems = judge(run(), 1800)
    assert problems == []
    assert figures["first"]["resident"] == pytest.approx(600.0)
    assert abs(figures["per hour"]["resident"]) < 1.0


def test_one_late_step_is_no_leak(judge):
    rows = run()
    for row in rows[1300:]:
        row["resident"] += 8.0
    assert judge(rows, 1800)[1] == []


@pytest.mark.parametrize(
    ("figure", "per_hour"),
    [
        ("resident", 100),
        ("in_use", 80),
        ("python_blocks", 100_000),  # 7 a frame and camera at 2 Hz
        ("threads", 20),
        ("files", 10),
    ],
)
def test_a_leak_is_told_with_its_figure(judge, figure, per_hour):
    (problem,) = judge(run(**{figure: per_hour}), 1800)[1]
    assert problem.startswith(f"{figure.replace('_', ' ')} grew by ")


def test_a_short_run_is_not_judged(judge):
    figures, problems = judge(run(60, resident=10_000), 60)
    assert problems == []
    assert figures["per hour"]["resident"] > 1000.0


def test_no_figures_are_a_problem(judge):
    assert judge([], 1800)[1]
