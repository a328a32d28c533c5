"""What the soak calls flat memory."""

import importlib.util
from pathlib import Path

import pytest

HALF_TIME = {
    "time": 5000.0,
    "resident": 900.0,
    "shared": 50.0,
    "in use": 340.0,
    "mapped": 83.2,
    "free": 180.0,
    "python blocks": 850_000,
    "threads": 40,
    "files": 28,
}


@pytest.fixture(scope="module")
def judge():
    path = Path(__file__).resolve().parents[2] / "tools" / "soak" / "soak_memory.py"
    spec = importlib.util.spec_from_file_location("soak_memory", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.judge_memory


def later(seconds, **more):
    end = HALF_TIME | {"time": HALF_TIME["time"] + seconds}
    for name, growth in more.items():
        end[name.replace("_", " ")] += growth
    return end


def test_a_late_swing_and_less_are_flat(judge):
    figures, problems = judge(
        HALF_TIME, later(900, resident=8.0, in_use=-20.0, mapped=67.1, threads=1)
    )
    assert problems == []
    assert figures["growth"]["resident"] == pytest.approx(8.0)
    assert figures["growth"]["in use"] == pytest.approx(-20.0)


@pytest.mark.parametrize(
    ("figure", "growth"),
    [
        ("resident", 77.0),  # what a node with 16 arenas grew by
        ("in_use", 20.0),
        ("python_blocks", 27_000),  # one for every image
        ("threads", 6),
        ("files", 5),
    ],
)
def test_a_leak_is_told_with_its_figure(judge, figure, growth):
    (problem,) = judge(HALF_TIME, later(900, **{figure: growth}))[1]
    assert problem.startswith(f"{figure.replace('_', ' ')} grew by {growth:.1f} ")


def test_a_short_run_is_not_judged(judge):
    figures, problems = judge(HALF_TIME, later(30, resident=300.0))
    assert problems == []
    assert figures["growth"]["resident"] == pytest.approx(300.0)
