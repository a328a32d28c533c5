"""The examples in the docstrings of packages run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import rmpsam_ros

WITHOUT = {
    "rmpsam_ros._native",  # called by segmentation, whose examples go through it
    "rmpsam_ros.benchmark",
    "rmpsam_ros.cli",
    "rmpsam_ros.messages",
    "rmpsam_ros.msg",
    "rmpsam_ros.recordings",
    "rmpsam_ros.srv",
    "rmpsam_ros.weights",
}
PACKAGES = [
    module.name
    for module in pkgutil.iter_modules(rmpsam_ros.__path__, "rmpsam_ros.")
    if module.ispkg and module.name not in WITHOUT
] + ["rmpsam_ros.model.sam"]


@pytest.mark.parametrize("name", PACKAGES)
def test_examples_run(name):
    module = importlib.import_module(name)
    examples = doctest.DocTestFinder(recurse=False).find(module, name, globs={})
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report = []
    for example in examples:
        runner.run(example, out=report.append)
    assert runner.tries >= 2, f"{name} has no examples in its docstring"
    assert not runner.failures, "".join(report)
