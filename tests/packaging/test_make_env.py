"""The environment is made again exactly when what it is made from has changed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("make_env")


@pytest.fixture
def requirements(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in files:
        path.write_text(f"{path.stem}==1\n")
    return files


def finished_environment(folder: Path, stamp: str, tool: ModuleType) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / tool.STAMP).write_text(stamp + "\n")
    return folder


def test_finished_environment_is_left_alone(
    tool: ModuleType,
    requirements: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = finished_environment(tmp_path / "env", tool.fingerprint(requirements), tool)
    monkeypatch.setattr(tool, "make", lambda *_: pytest.fail("it was made again"))
    monkeypatch.setattr("sys.argv", ["make_env", str(environment), *map(str, requirements)])
    assert tool.main() == 0


def test_changed_requirement_changes_the_fingerprint(
    tool: ModuleType, requirements: list[Path]
) -> None:
    before = tool.fingerprint(requirements)
    requirements[1].write_text("b==2\n")
    assert tool.fingerprint(requirements) != before


@pytest.mark.parametrize("missing", ["stamp", "python"])
def test_unfinished_environment_is_not_current(
    tool: ModuleType, tmp_path: Path, missing: str
) -> None:
    environment = finished_environment(tmp_path / "env", "hash", tool)
    assert tool.is_current(environment, "hash")
    (environment / (tool.STAMP if missing == "stamp" else "bin/python")).unlink()
    assert not tool.is_current(environment, "hash")


def test_failed_installation_leaves_no_stamp(
    tool: ModuleType,
    requirements: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    environment = finished_environment(tmp_path / "env", "an older hash", tool)

    def fail(command: list[str], check: bool) -> None:
        if "pip" in command:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr("sys.argv", ["make_env", str(environment), *map(str, requirements)])
    assert tool.main() == 1
    assert not (environment / tool.STAMP).exists()
    assert "incomplete" in capfd.readouterr().err


def test_old_python_is_refused_with_a_reason(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "OLDEST", (9, 0))
    assert any("too old" in line for line in tool.missing_tools())
