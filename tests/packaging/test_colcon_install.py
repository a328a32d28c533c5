"""What colcon installed is complete, and stays light until the network is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUFFIXES = {".py", ".typed", ".json", ".yaml", ".safetensors", ".md", ".txt", ".gz"}
SUFFIXES |= {".html", ".js", ".css", ".svg"}  # the page of the console


@pytest.fixture(scope="module")
def installed_package(install_prefix: Path) -> Path:
    """Folder of the installed Python package."""
    (folder,) = [path.parent for path in install_prefix.glob("**/rmpsam_ros/py.typed")]
    return folder


def run_installed(code: str, folder: Path) -> str:
    """Runs `code` in a fresh interpreter away from the source tree and returns its output."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_source_and_data_file(source_root: Path, installed_package: Path) -> None:
    sources = source_root / "rmpsam_ros"
    expected = [
        path
        for path in sources.rglob("*")
        if path.suffix in SUFFIXES and "__pycache__" not in path.parts
    ]
    assert expected
    for path in expected:
        installed = installed_package / path.relative_to(sources)
        assert installed.is_file(), f"{installed} is missing"
        assert installed.read_bytes() == path.read_bytes(), f"{installed} is stale: make build"


def test_every_file_of_the_source_package_is_meant(source_root: Path) -> None:
    ignored = {".pyc", ".so"}
    suffixes = {path.suffix for path in (source_root / "rmpsam_ros").rglob("*") if path.is_file()}
    assert suffixes - ignored <= SUFFIXES


@pytest.mark.parametrize("kind", ["msg", "srv", "action"])
def test_every_interface_is_importable(source_root: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("rclpy", reason="no ROS environment is active")
    names = sorted(path.stem for path in (source_root / kind).glob(f"*.{kind}"))
    assert names
    code = f"from rmpsam_ros.{kind} import {', '.join(names)}"
    run_installed(code, tmp_path)


def test_importing_messages_loads_no_network(install_prefix: Path, tmp_path: Path) -> None:
    code = (
        "import sys, rmpsam_ros.msg; "
        "print(sorted({'torch', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    )
    assert run_installed(code, tmp_path).strip() == "[]"


def test_kernels_load(install_prefix: Path, tmp_path: Path) -> None:
    output = run_installed("import rmpsam_ros._native as n; print(n.__file__)", tmp_path)
    assert Path(output.strip()).is_relative_to(install_prefix)


@pytest.mark.parametrize(
    "program", ["lib/rmpsam_ros/rmpsam_node", "lib/rmpsam_ros/camera_source", "bin/rmpsam"]
)
def test_programs_run_in_the_active_environment(install_prefix: Path, program: str) -> None:
    path = install_prefix / program
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env python3\n")


def test_shared_files(source_root: Path, install_prefix: Path) -> None:
    share = install_prefix / "share" / "rmpsam_ros"
    for folder in ("launch", "config", "rviz", "examples"):
        expected = {
            path.relative_to(source_root)
            for path in (source_root / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert expected, f"{folder}/ is empty"
        assert not [path for path in expected if not (share / path).is_file()]


def test_the_header_for_consumers(source_root: Path, install_prefix: Path) -> None:
    name = Path("rmpsam_ros") / "run_length_mask.hpp"
    installed = install_prefix / "include" / "rmpsam_ros" / name
    assert installed.read_text() == (source_root / "include" / name).read_text(), "make build"


def test_nothing_installed_names_the_build_machine(install_prefix: Path) -> None:
    exports = list((install_prefix / "share" / "rmpsam_ros" / "cmake").glob("*.cmake"))
    assert exports
    for path in exports:
        assert "site-packages/numpy" not in path.read_text(), path
