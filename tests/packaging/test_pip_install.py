"""`pip install .` gives the library, its data and the kernels on a machine without ROS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = [
    "rmpsam_ros",
    "src",
    "setup.py",
    "msg",
    "pyproject.toml",
    "MANIFEST.in",
    "LICENSE",
    "README.md",
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def target(source_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which a copy of the sources was installed."""
    copy = tmp_path_factory.mktemp("source")
    for name in PARTS:
        part = source_root / name
        if part.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(part, copy / name, ignore=unwanted)
        elif part.exists():
            shutil.copy(part, copy / name)
    target = tmp_path_factory.mktemp("target")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(target), str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return target


def run_python(arguments: list[str], target: Path) -> str:
    """Runs Python where only the target provides rmpsam_ros; returns what it printed."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=target,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_library_and_kernels(target: Path) -> None:
    code = (
        "import numpy as np, rmpsam_ros._native as native; "
        "ids, lengths = native.encode_map(np.array([[1, 1, 2]], np.uint16)); "
        "print(native.__file__, ids.tolist(), lengths.tolist())"
    )
    path, _, rest = run_python(["-c", code], target).strip().partition(" ")
    assert Path(path).is_relative_to(target)
    assert rest == "[1, 2] [2, 1]"


def test_data_files(source_root: Path, target: Path) -> None:
    sources = source_root / "rmpsam_ros"
    data = [
        path.relative_to(sources)
        for path in sources.rglob("*")
        if path.suffix in {".json", ".yaml", ".safetensors", ".md", ".txt", ".typed"}
    ]
    assert data
    assert not [path for path in data if not (target / "rmpsam_ros" / path).is_file()]


def test_message_definitions(source_root: Path, target: Path) -> None:
    sources = {path.name: path.read_text() for path in source_root.glob("msg/*.msg")}
    folder = target / "rmpsam_ros" / "message_definitions"
    assert sources
    assert {path.name: path.read_text() for path in folder.iterdir()} == sources


def test_command(target: Path) -> None:
    version = run_python(["-c", "import rmpsam_ros; print(rmpsam_ros.__version__)"], target)
    assert version.strip() in run_python([str(target / "bin" / "rmpsam"), "--version"], target)


def test_nothing_but_the_package_is_installed(target: Path) -> None:
    top = {path.name for path in target.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"bin", "rmpsam_ros"}
