"""The CMake exports of pip-installed ROS packages end up with folders of this machine."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PYTHON, NUMPY = "/here/include/python3.12", "/here/numpy/_core/include"
FOREIGN_PYTHON = "/opt/python/cp312-cp312/include/python3.12"
FOREIGN_NUMPY = "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include"
PACKAGE = "${_IMPORT_PREFIX}/include/std_msgs"


@pytest.fixture(scope="module")
def repair(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("repair_cmake_exports")


def export(*folders: str) -> str:
    return (
        "set_target_properties(std_msgs::std_msgs__rosidl_generator_py PROPERTIES\n"
        f'  INTERFACE_INCLUDE_DIRECTORIES "{";".join(folders)}"\n'
        '  INTERFACE_LINK_LIBRARIES "/opt/python/cp312-cp312/include/python3.12"\n)\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([FOREIGN_PYTHON, FOREIGN_NUMPY], [PYTHON, NUMPY], id="both"),
        pytest.param([FOREIGN_NUMPY], [NUMPY], id="numpy only"),
        pytest.param([PACKAGE, FOREIGN_PYTHON], [PACKAGE, PYTHON], id="own folder stays"),
        pytest.param(["/usr/include"], ["/usr/include"], id="existing folder stays"),
        pytest.param([PACKAGE], [PACKAGE], id="nothing foreign"),
    ],
)
def test_include_folders(repair: ModuleType, before: list[str], after: list[str]) -> None:
    assert repair.repair_text(export(*before), PYTHON, NUMPY) == export(*after)


def test_unknown_missing_folder_is_an_error(repair: ModuleType) -> None:
    with pytest.raises(ValueError, match="/nowhere/boost"):
        repair.repair_text(export("/nowhere/boost"), PYTHON, NUMPY)


def test_prefix_is_repaired_once(repair: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    damaged = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    damaged.write_text(export(FOREIGN_PYTHON, FOREIGN_NUMPY))
    other = folder / "std_msgsConfig.cmake"
    other.write_text(export(FOREIGN_PYTHON))
    here = (sysconfig.get_path("include"), str(tmp_path))

    assert repair.repair_prefix(tmp_path, *here) == (1, 1)
    assert damaged.read_text() == export(*here)
    assert other.read_text() == export(FOREIGN_PYTHON)
    assert repair.repair_prefix(tmp_path, *here) == (1, 0)


def test_error_names_the_file(repair: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "a" / "cmake"
    folder.mkdir(parents=True)
    (folder / "export_a__rosidl_generator_pyExport.cmake").write_text(export("/nowhere"))
    with pytest.raises(ValueError, match=r"export_a__rosidl_generator_pyExport\.cmake"):
        repair.repair_prefix(tmp_path, PYTHON, NUMPY)


def test_this_environment_is_repaired(repair: ModuleType) -> None:
    exports = sorted(Path(sys.prefix).glob(repair.PATTERN))
    if not exports:
        pytest.skip("no pip-installed ROS packages in this environment")
    for path in exports:
        for _, folders, _ in repair.INCLUDE_PROPERTY.findall(path.read_text()):
            for folder in folders.split(";"):
                assert folder.startswith("${") or Path(folder).is_dir(), f"{path}: {folder}"
