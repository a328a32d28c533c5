"""Every call of TensorRT's Python API in this package exists in TensorRT 10.16 and in 11.4.

What the two have, by introspection of NVIDIA's own bindings, is in tests/goldens/runtime; how it
got there says tools/tensorrt_api.py. The bindings themselves cannot be imported without
libraries that no package index has.
"""

from __future__ import annotations

import ast
import inspect
import json
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executors import tensorrt_build, tensorrt_executor

VERSIONS = ("10.16.1.11", "11.4.0.106")
FILE = Path(__file__).resolve().parents[1] / "goldens" / "runtime" / "tensorrt_api.json"

# Which class an object of this name has, in the modules of this package that use TensorRT.
RECEIVERS = {
    "trt": "module",
    "builder": "Builder",
    "parser": "OnnxParser",
    "error": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "_runtime": "Runtime",
    "ILogger": "ILogger",
    "Severity": "ILogger.Severity",
    "BuilderFlag": "BuilderFlag",
    "MemoryPoolType": "MemoryPoolType",
    "NetworkDefinitionCreationFlag": "NetworkDefinitionCreationFlag",
}
MODULES = (inspect.getsource(tensorrt_build), inspect.getsource(tensorrt_executor))


@dataclass(frozen=True)
class Use:
    """One place where an attribute of an object of TensorRT is read, set or called."""

    kind: str
    name: str
    how: str  # read, set or call
    positional: int = 0
    keywords: tuple[str, ...] = ()


def uses(*sources: str) -> set[Use]:
    """Every use of TensorRT in source texts."""
    found = set()
    for source in sources:
        tree = ast.parse(source)
        calls = {id(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
                continue
            kind = RECEIVERS.get(getattr(node.value, "id", getattr(node.value, "attr", "")))
            if kind is None:
                continue
            if call := calls.get(id(node)):
                keywords = tuple(keyword.arg or "**" for keyword in call.keywords)
                found.add(Use(kind, node.attr, "call", len(call.args), keywords))
            else:
                how = "set" if isinstance(node.ctx, ast.Store) else "read"
                found.add(Use(kind, node.attr, how))
    return found


def accepts(form: str, use: Use) -> bool:
    """Whether parameters like "flags, name=" take the arguments of a call."""
    names = [name for name in form.split(", ") if name]
    given = {name.rstrip("=") for name in names[: use.positional]}
    needed = {name for name in names[use.positional :] if not name.endswith("=")}
    free = {name.rstrip("=") for name in names} - given
    return use.positional <= len(names) and needed <= set(use.keywords) <= free


def problem(use: Use, api: dict[str, Any]) -> str:
    """Why a use is not possible with these bindings; '' if it is."""
    where = f"{use.kind}.{use.name}"
    if use.name not in api[use.kind]:
        return f"{where} does not exist"
    member = api[use.kind][use.name]
    if use.how == "set" and member == "read only":
        return f"{where} cannot be set"
    if use.how == "call":
        forms = api[use.name]["__init__"] if use.name in api else member
        if not isinstance(forms, list) or not any(accepts(form, use) for form in forms):
            return f"{where} is not called like that: {use}, but {forms}"
    return ""


@pytest.fixture(params=VERSIONS)
def api(request) -> dict[str, Any]:
    return json.loads(FILE.read_text())[request.param]


def test_every_use_is_possible(api):
    found = uses(*MODULES)
    assert len(found) > 35 and {use.kind for use in found} == set(RECEIVERS.values())
    assert {use.how for use in found} == {"read", "set", "call"}
    assert sorted(filter(None, (problem(use, api) for use in found))) == []


def test_nobody_else_calls_tensorrt():
    folder = Path(inspect.getfile(tensorrt_build)).parents[1]
    others = [path.read_text() for path in sorted(folder.rglob("*.py"))]
    others = [text for text in others if text not in MODULES]
    assert len(others) > 20
    assert not {use for use in uses(*others) if use.kind == "module"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("config.int8_calibrator = x", "IBuilderConfig.int8_calibrator does not exist"),
        ("builder.platform_has_fast_fp16", "Builder.platform_has_fast_fp16 does not exist"),
        ("config.set_flag(trt.BuilderFlag.FP16)", "BuilderFlag.FP16 does not exist"),
        ("engine.num_io_tensors = 3", "ICudaEngine.num_io_tensors cannot be set"),
        ("profile.set_shape(name, a, b)", "IOptimizationProfile.set_shape is not called"),
        ("profile.set_shape(name, a, b, c, d)", "IOptimizationProfile.set_shape is not called"),
        ("profile.set_shape(name, min=a, opt=b, max=c)", ""),
        ("profile.set_shape(name, lo=a, opt=b, max=c)", "IOptimizationProfile.set_shape is not"),
        ("trt.OnnxParser(network)", "module.OnnxParser is not called"),
        ("builder.create_network()", ""),
        ("engine.create_execution_context(runtime_config=x)", ""),
    ],
)
def test_what_tensorrt_11_lacks_would_be_found(source, expected):
    api = json.loads(FILE.read_text())["11.4.0.106"]
    problems = [problem(use, api) for use in uses(source)]
    if expected:
        assert any(found.startswith(expected) for found in problems), problems
    else:
        assert not any(problems)


def test_what_is_overridden_exists_with_these_parameters(api):
    trt = types.SimpleNamespace(ILogger=object, IProgressMonitor=object)
    logger = tensorrt_build.make_logger(trt, tensorrt_build.Messages())
    monitor = tensorrt_build._make_monitor(trt, print, None)
    for kind, made in (("ILogger", logger), ("IProgressMonitor", monitor)):
        own = {name: value for name, value in vars(type(made)).items() if name[0] != "_"}
        assert own.keys() == {name for name in api[kind] if name[0].islower()}
        for name, function in own.items():
            parameters = list(inspect.signature(function).parameters)[1:]
            assert [len(form.split(", ")) for form in api[kind][name]] == [len(parameters)], name


def test_without_tensorrt_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"cannot be imported .* use engine torch"):
        tensorrt_build.load_tensorrt()
