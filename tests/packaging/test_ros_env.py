"""Sourcing tools/ros_env.sh gives this package's environment, whatever was sourced before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ELSEWHERE = "/opt/ros/elsewhere"
PROGRAM = """
import importlib.util, json, os, sys
find = importlib.util.find_spec
print(json.dumps({
    "environment": dict(os.environ),
    "prefix": sys.prefix,
    "rclpy": find("rclpy").origin,
    "rmpsam_ros": find("rmpsam_ros").origin,
}))
"""


@pytest.fixture(scope="module")
def sourced(source_root: Path, install_prefix: Path, tmp_path_factory: pytest.TempPathFactory):
    """What a program sees after sourcing, in a shell with another ROS installation active."""
    if Path(sys.prefix) != source_root / ".venv-jazzy":
        pytest.skip("these tests run in another environment than the source tree's .venv-jazzy")
    if install_prefix != source_root / "install" / "jazzy":
        pytest.skip("another build than the source tree's is active")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "AMENT_PREFIX_PATH": ELSEWHERE,
        "CMAKE_PREFIX_PATH": ELSEWHERE,
        "LD_LIBRARY_PATH": f"{ELSEWHERE}/lib",
        "PYTHONPATH": f"{ELSEWHERE}/lib/python3/site-packages",
        "ROS_DISTRO": "elsewhere",
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
    }
    script = f"set -e; . \"{source_root}/tools/ros_env.sh\"; python -c '{PROGRAM}'"
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_modules_come_from_this_environment(source_root: Path, sourced: dict) -> None:
    assert sourced["prefix"] == str(source_root / ".venv-jazzy")
    assert Path(sourced["rclpy"]).is_relative_to(source_root / ".venv-jazzy")
    assert Path(sourced["rmpsam_ros"]).is_relative_to(source_root / "install" / "jazzy")


def test_nothing_of_the_other_installation_is_left(sourced: dict) -> None:
    left = {name: value for name, value in sourced["environment"].items() if ELSEWHERE in value}
    assert not left


def test_package_and_wheels_are_on_the_ament_path(source_root: Path, sourced: dict) -> None:
    path = sourced["environment"]["AMENT_PREFIX_PATH"].split(":")
    assert path == [str(source_root / "install" / "jazzy"), str(source_root / ".venv-jazzy")]


def source_it(
    source_root: Path, script: str, *arguments: str, **variables: str
) -> tuple[int, str]:
    """Exit status and output of a script with arguments that sources it."""
    script = f'. "{source_root}/tools/ros_env.sh" {script}; echo "$RMPSAM_INSTALL $*"'
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **variables}
    command = ["bash", "-e", "-c", script, "script", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("argument", ["", "drive.mp4", "--help", "../jazzy", "two words", "core"])
def test_a_script_keeps_its_arguments(source_root: Path, argument: str) -> None:
    if not (source_root / ".venv-jazzy").exists():
        pytest.skip("the source tree has no .venv-jazzy")
    expected = f"{source_root}/install/jazzy {argument}\n"
    assert source_it(source_root, "", argument) == (0, expected)


@pytest.mark.parametrize(
    ("own", "given", "variables"),
    [
        ("drive.mp4", "nowhere", {"RMPSAM_DISTRO": "nowhere"}),
        ("kilted", "nowhere", {"RMPSAM_DISTRO": "nowhere"}),
        ("drive.mp4", "", {"RMPSAM_DISTRO": "nowhere"}),
    ],
)
def test_a_distribution_that_is_not_there(
    source_root: Path, own: str, given: str, variables: dict[str, str]
) -> None:
    status, output = source_it(source_root, given, own, **variables)
    assert status != 0
    assert "/.venv-nowhere is not there: run make DISTRO=nowhere build first" in output


def test_nodes_stay_on_this_machine_unless_told(sourced: dict) -> None:
    assert sourced["environment"]["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
