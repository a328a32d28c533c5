"""What the packaging tests share: the source tree, its tools, and the installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SOURCE_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def source_root() -> Path:
    return SOURCE_ROOT


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], ModuleType]:
    """Imports a program of tools/ as a module, by its name."""

    def load(name: str) -> ModuleType:
        path = SOURCE_ROOT / "tools" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def install_prefix() -> Path:
    """Prefix of the package as colcon installed it; skips where it was not built."""
    index = pytest.importorskip(
        "ament_index_python.packages", reason="no ROS environment is active"
    )
    try:
        return Path(index.get_package_prefix("rmpsam_ros"))
    except index.PackageNotFoundError:
        pytest.skip("rmpsam_ros is not built and sourced in this environment")
