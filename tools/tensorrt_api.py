"""Writes down what TensorRT's Python bindings have, for tests/runtime/test_tensorrt_bindings.py.

    pip download --no-deps tensorrt-cu13-bindings==10.16.1.11
    python -m zipfile -e tensorrt_cu13_bindings-10.16.1.11-*.whl bindings
    python tools/tensorrt_api.py 10.16.1.11 bindings/tensorrt_bindings

and once more with 11.4.0.106. Updates tests/goldens/runtime/tensorrt_api.json.

The bindings are one extension module that is linked against libraries of several gigabytes. Of
those it needs nine functions to be imported, and none of them to be asked what it has: stubs that
are compiled here (``cc``) take their place. Classes, methods, parameters and members of
enumerations are read by introspection; pybind11 puts signatures into docstrings.
"""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

OUTPUT = Path(__file__).parents[1] / "goldens" / "runtime" / "tensorrt_api.json"
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL"),
    *("createInferRuntime_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry", "getNvOnnxParserVersion"),
    *("getPluginRegistry", "initLibNvInferPlugins"),
)
CLASSES = (
    *("Builder", "BuilderFlag", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "ILogger"),
    *("ILogger.Severity", "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor"),
    *("MemoryPoolType", "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "Runtime"),
)


def load_bindings(folder: Path, major: str) -> ModuleType:
    """Import the extension module in ``folder`` with stubs for the libraries it is linked to."""
    source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS)
    with tempfile.TemporaryDirectory() as stubs:
        code = Path(stubs) / "stubs.c"
        code.write_text(source)
        for name in LIBRARIES:
            library = f"{name}.so.{major}"
            path = Path(stubs) / library
            command = [
                "cc",
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{library}",
                "-o",
                str(path),
                str(code),
            ]
            subprocess.run(command, check=True)
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)  # found by its name from now on
        spec = importlib.util.spec_from_file_location("tensorrt", folder / "tensorrt.so")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def overloads(name: str, documentation: str) -> list[str]:
    """Return the parameters of every form of a function, "a, b=" if b has a default."""
    forms = re.findall(rf"^(?:\d+\. )?{name}\((.*)\) -> ", documentation, re.MULTILINE)
    return [", ".join(map(_parameter, _split(form))) for form in forms if "*args" not in form]


def _split(parameters: str) -> list[str]:
    """Cut at the commas that are not inside brackets, and leave ``self`` out."""
    parts, depth = [""], 0
    for character in parameters:
        depth += (character in "([{<") - (character in ")]}>")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    names = [part.strip() for part in parts if part.strip()]
    return [name for name in names if not name.startswith("self:")]


def _parameter(text: str) -> str:
    name = re.split(r"[:=]", text, maxsplit=1)[0].strip()
    return name + ("=" if re.search(r" = |[^=]=[^=]", text) else "")


def describe(module: ModuleType) -> dict[str, dict[str, str | list[str]]]:
    """Return all public names by class: forms of functions, "read only", or "" for the rest."""
    api: dict[str, dict[str, str | list[str]]] = {
        "module": {name: "" for name in sorted(vars(module)) if not name.startswith("_")}
    }
    for path in CLASSES:
        kind: object = module
        for name in path.split("."):
            kind = getattr(kind, name)
        members: dict[str, str | list[str]] = {}
        for name in ["__init__", *sorted(n for n in dir(kind) if not n.startswith("_"))]:
            member = inspect.getattr_static(kind, name)
            forms = overloads(name, getattr(member, "__doc__", None) or "")
            if isinstance(member, property):
                members[name] = "" if member.fset else "read only"
            else:
                members[name] = forms if forms else ""
        api[path] = members
    return api


def main(version: str, folder: Path) -> None:
    """Put the bindings in ``folder`` into the file under ``version``."""
    everything = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    everything[version] = describe(load_bindings(folder, version.split(".")[0]))
    OUTPUT.write_text(json.dumps(everything, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
