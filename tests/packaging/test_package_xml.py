"""package.xml says what the code really needs, in the names that rosdep knows."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")

ROSDEP_KEYS = {
    "aiohttp": "python3-aiohttp",
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "onnxruntime": "python3-onnxruntime-pip",
    "rosbags": "python3-rosbags-pip",
    "scipy": "python3-scipy",
    "simplejpeg": "python3-simplejpeg-pip",
    "torch": "python3-pytorch-pip",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
# package.xml explains in a comment why these come by pip.
FROM_PIP = {
    *("safetensors", "pycocotools", "onnx", "openvino", "tensorrt"),
    *("onnxscript", "onnx_ir"),  # onnx_ir comes with onnxscript
    *("mcap", "fsspec", "ray"),
}
# Needed by what the build generates, and by a launch file; no import of ours.
WITHOUT_IMPORT = {"action_msgs", "rosidl_default_runtime", "rviz2"}


@pytest.fixture(scope="module")
def package(source_root: Path) -> Any:
    return catkin_pkg.parse_package(str(source_root / "package.xml"))


def imported_modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields the first name of every absolute import below `folder`, with its file."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0], path


@pytest.fixture(scope="module")
def foreign_imports(source_root: Path) -> dict[str, Path]:
    """Modules from outside that the installed code imports, each with one file that does."""
    return {
        module: path
        for folder in ("rmpsam_ros", "launch")
        for module, path in imported_modules(source_root / folder)
        if module != "rmpsam_ros" and module not in sys.stdlib_module_names
    }


def test_is_valid_for_ros(package: Any) -> None:
    package.validate()
    assert package.package_format == 3
    assert package.name == "rmpsam_ros"
    assert package.licenses == ["Apache-2.0"]
    assert package.get_build_type() == "ament_cmake"
    assert [group.name for group in package.member_of_groups] == ["rosidl_interface_packages"]


def test_rosdep_runs_pip_only_where_it_is_asked_to(package: Any) -> None:
    for asked in ("", "1"):
        package.evaluate_conditions({"RMPSAM_PIP": asked})
        by_pip = {one.name for one in package.exec_depends if one.name.endswith("-pip")}
        taken = {one.name for one in package.exec_depends if one.evaluated_condition}
        assert by_pip
        assert by_pip & taken == (by_pip if asked else set())


def test_packages_that_launch_files_start_are_declared(package: Any, source_root: Path) -> None:
    launch_files = (source_root / "launch").glob("*.launch.py")
    text = "\n".join(path.read_text() for path in launch_files)
    started = set(re.findall(r'package="(\w+)"', text))
    assert "rviz2" in started
    assert started <= {dependency.name for dependency in package.exec_depends}


def test_everything_imported_is_declared(package: Any, foreign_imports: dict[str, Path]) -> None:
    declared = {dependency.name for dependency in package.exec_depends}
    undeclared = {
        f"{ROSDEP_KEYS.get(module, module)} (imported by {path.name})"
        for module, path in foreign_imports.items()
        if module not in FROM_PIP and ROSDEP_KEYS.get(module, module) not in declared
    }
    assert not undeclared


def test_everything_declared_is_imported(
    package: Any, foreign_imports: dict[str, Path], interface_packages: set[str]
) -> None:
    used = {ROSDEP_KEYS.get(module, module) for module in foreign_imports}
    declared = {dependency.name for dependency in package.exec_depends}
    assert declared - used - interface_packages - WITHOUT_IMPORT == set()


@pytest.fixture(scope="module")
def interface_packages(source_root: Path) -> set[str]:
    """Packages whose types our messages and services contain."""
    texts = [
        path.read_text()
        for kind in ("action", "msg", "srv")
        for path in source_root.glob(f"{kind}/*.{kind}")
    ]
    assert texts
    types = re.findall(r"^([a-z]\w+)/[A-Z]", "\n".join(texts), re.MULTILINE)
    return set(types) - {"rmpsam_ros"}


def test_packages_of_message_types_are_built_against(
    package: Any, interface_packages: set[str], source_root: Path
) -> None:
    assert interface_packages <= {dependency.name for dependency in package.build_depends}
    assert interface_packages <= {dependency.name for dependency in package.exec_depends}
    cmake = (source_root / "CMakeLists.txt").read_text()
    generated = re.search(r"rosidl_generate_interfaces\((.*?)\)\n", cmake, re.DOTALL)
    assert generated is not None
    assert set(generated[1].split("DEPENDENCIES")[1].split()) == interface_packages
    for name in interface_packages:
        assert f"find_package({name} REQUIRED)" in cmake
