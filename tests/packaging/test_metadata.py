"""The files that describe the package agree, and colcon reads them as one CMake package."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([A-Za-z0-9_.]+)$")


def pins(path: Path) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    matches = [(line, PIN.match(line)) for line in lines if line]
    assert not [line for line, match in matches if match is None], "every line must be name==pin"
    return {match[1].lower(): match[2] for _, match in matches if match is not None}


def test_one_version(source_root: Path) -> None:
    init = (source_root / "rmpsam_ros" / "__init__.py").read_text()
    manifest = (source_root / "package.xml").read_text()
    in_init = re.findall(r'^__version__ = "(.+)"$', init, re.MULTILINE)
    in_manifest = re.findall(r"<version>(.+)</version>", manifest)
    in_setup = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=source_root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [*in_init, *in_manifest, in_setup[-1]] == 3 * in_init


def test_who_looks_after_it_and_where_is_said_once(source_root: Path) -> None:
    manifest = ElementTree.parse(source_root / "package.xml").getroot()
    urls = {url.get("type"): url.text for url in manifest.findall("url")}
    maintainer = manifest.find("maintainer")
    assert maintainer is not None and set(urls) == {"website", "repository", "bugtracker"}
    code = """
import runpy, setuptools
setuptools.setup = lambda **given: print("\\n".join(
    [given["maintainer"], given["maintainer_email"], given["url"], *given["project_urls"].values()]
))
runpy.run_path("setup.py")
"""
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=source_root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said == [
        maintainer.text,
        maintainer.get("email"),
        urls["website"],
        urls["repository"],
        urls["bugtracker"],
    ]
    citation = (source_root / "CITATION.cff").read_text()
    assert f'name: "{maintainer.text}"' in citation


def test_colcon_sees_one_cmake_package(source_root: Path, tmp_path: Path) -> None:
    colcon = shutil.which("colcon")
    if colcon is None:
        pytest.skip("colcon is not installed")
    listed = subprocess.run(
        [colcon, "list", "--base-paths", str(source_root)],
        cwd=tmp_path,
        env={**os.environ, "COLCON_LOG_PATH": str(tmp_path / "log")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in listed] == [
        ("rmpsam_ros", "(ros.ament_cmake)")
    ]


def test_licence(source_root: Path) -> None:
    text = (source_root / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("name", ["core", "dev", "ros-kilted", "ros-jazzy", "test-browser"])
def test_requirements_are_exact_pins(source_root: Path, name: str) -> None:
    assert pins(source_root / "requirements" / f"{name}.txt")


# For machines with a GPU, where NVIDIA's packages for the CUDA version at hand are.
NOT_PINNED = {"tensorrt"}


def requirements_in_setup(path: Path) -> list[str]:
    """Requirement strings of install_requires and extras_require, read without running it."""
    keywords = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.keyword)
    ]
    values = {keyword.arg: keyword.value for keyword in keywords}
    extras = ast.literal_eval(values["extras_require"])
    required: list[str] = ast.literal_eval(values["install_requires"])
    return required + [text for texts in extras.values() for text in texts]


def test_pins_satisfy_the_ranges_of_setup(source_root: Path) -> None:
    specifiers = pytest.importorskip("packaging.requirements", reason="no packaging module")
    folder = source_root / "requirements"
    pinned = pins(folder / "core.txt") | pins(folder / "test-runtime.txt")
    texts = requirements_in_setup(source_root / "setup.py")
    assert len(texts) >= 8
    for requirement in map(specifiers.Requirement, texts):
        if requirement.name in NOT_PINNED:
            continue
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_both_distributions_pin_the_same_interfaces(source_root: Path) -> None:
    kilted, jazzy = (
        {name for name in pins(source_root / "requirements" / f"ros-{distro}.txt")}
        for distro in ("kilted", "jazzy")
    )
    needed = {"ros-rclpy", "ros-rmw-fastrtps-cpp", "ros-sensor-msgs", "ros-rosidl-generator-py"}
    assert needed <= kilted & jazzy


def test_ci_runs_the_tests(source_root: Path) -> None:
    script = source_root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-2:] == ["make test", "make smoke-kilted"]


def test_the_changelog_is_one_that_ros_tools_read(source_root: Path) -> None:
    changelog = pytest.importorskip("catkin_pkg.changelog", reason="comes with colcon")
    version = re.search("<version>(.+)</version>", (source_root / "package.xml").read_text())[1]
    log = changelog.get_changelog_from_path(str(source_root), "rmpsam_ros")
    versions = [number for number, _, _ in log.foreach_version()]
    assert version in versions
    assert all(log.get_content_of_version(number) for number in versions)
    assert "Forthcoming\n-----------\n* " in log.rst
