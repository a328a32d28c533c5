"""Packages that only some tests need: installed once, and never in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def tool(
    load_tool: Callable[[str], ModuleType], source_root: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    monkeypatch.syspath_prepend(source_root / "tools")
    return load_tool("install_optional")


@pytest.fixture
def run(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the program with a pip that ends with a status and says something; counts its runs."""
    calls: list[list[str]] = []

    def run(status: int = 0, text: str = "") -> tuple[int, int]:
        def pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
            calls.append(command)
            return subprocess.CompletedProcess(command, status, stdout=text)

        monkeypatch.setattr(tool.subprocess, "run", pip)
        monkeypatch.setattr("sys.argv", ["", str(tmp_path), str(tmp_path / "test-runtime.txt")])
        return tool.main(), len(calls)

    (tmp_path / "test-runtime.txt").write_text("a==1\n")
    return run


def test_installed_once(run: Callable[..., Any]) -> None:
    assert run() == (0, 1)
    assert run() == (0, 1)


def test_other_versions_are_installed_again(run: Callable[..., Any], tmp_path: Path) -> None:
    run()
    (tmp_path / "test-runtime.txt").write_text("a==2\n")
    assert run() == (0, 2)


def test_a_failure_is_one_line_and_tried_again(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(1, "Looking\nERROR: No matching distribution found for a==1\n\n") == (0, 1)
    output = capsys.readouterr().out
    assert "its tests will be skipped: ERROR: No matching distribution found for a==1" in output
    assert run(1) == (0, 2)
    assert "its tests will be skipped: pip failed" in capsys.readouterr().out


def test_the_file_in_the_makefile_exists(source_root: Path) -> None:
    makefile = (source_root / "Makefile").read_text()
    assert "install_optional.py $(VENV) requirements/test-runtime.txt" in makefile
    assert (source_root / "requirements" / "test-runtime.txt").is_file()
