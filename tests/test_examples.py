"""The examples in docstrings run, and give what they say; every package has some."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import rmpsam_ros

PACKAGE = Path(rmpsam_ros.__file__).parent
WITHOUT = {"_native", "action", "benchmark", "cli", "msg", "srv"}
MODULES = {
    ".".join(("rmpsam_ros", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
}


@pytest.mark.parametrize("name", [name.removesuffix(".__init__") for name in MODULES])
def test_examples_run(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    is_package = hasattr(module, "__path__")  # of which examples are imports, too, as a user's
    for example in doctest.DocTestFinder().find(module, name, globs={} if is_package else None):
        runner.run(example, out=report.append)
    assert runner.tries >= 1
    assert not runner.failures, "".join(report)


def test_every_package_has_examples():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - WITHOUT
    assert packages
    assert {name for name in packages if f"rmpsam_ros.{name}.__init__" not in MODULES} == set()
