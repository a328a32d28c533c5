"""What the launch tests share: the launch files, and what they declare by their text."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def source_root() -> Path:
    return SOURCE_ROOT


@pytest.fixture(params=sorted((SOURCE_ROOT / "launch").glob("*.py")), ids=lambda path: path.name)
def launch_file(request: pytest.FixtureRequest) -> Path:
    """Every launch file in turn."""
    path = request.param
    assert isinstance(path, Path)
    return path


@pytest.fixture(scope="session")
def calls() -> Callable[[Path, str], list[ast.Call]]:
    """Finds the calls of one function in a file, in the order of the text."""

    def find(path: Path, name: str) -> list[ast.Call]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        return [call for call in found if isinstance(call.func, ast.Name) and call.func.id == name]

    return find


@pytest.fixture(scope="session")
def keyword() -> Callable[[ast.Call, str], object]:
    """Reads a literal keyword argument of a call; None if there is none."""

    def read(call: ast.Call, name: str) -> object:
        values = [word.value for word in call.keywords if word.arg == name]
        return ast.literal_eval(values[0]) if values else None

    return read
