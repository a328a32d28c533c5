"""Public functions on arrays say shapes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "rmpsam_ros"
ROOMS = ("_native", "segmentation", "model", "tracking", "geometry", "prompting", "evaluation")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]

# (H, W, 3) or [B, C, H, W]; "(N,)"; "..." for any leading axes. Other words say it as well.
SIZE = r"[\w.*/]+(?: (?:[*+/]|or) [\w.]+)*"
SHAPE = re.compile(
    rf"[(\[]{SIZE},(?: {SIZE},?)*[)\]]|\[[A-Z]\]|[(\[]\.\.\.|any shape|same shape|common shape"
)
ELSEWHERE = re.compile(r"[Ss]ee `|[Dd]oes `|what `|as in `|those of `|Inverse of `")


def on_arrays(annotation: ast.expr | None) -> bool:
    """Whether a parameter or result is an array, and not a mapping or sequence of arrays."""
    text = ast.unparse(annotation) if annotation is not None else ""
    return re.match(r"(?:NDArray\[|Tensor\b)", text) is not None


def functions(body, prefix=""):
    """The public functions and methods below a body, with their full names."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node


def without_shape(source: str) -> list[str]:
    """Names of the functions on arrays whose docstrings say no shape."""
    found = []
    for name, node in functions(ast.parse(source).body):
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if any(map(on_arrays, [node.returns, *(argument.annotation for argument in taken)])):
            text = ast.get_docstring(node) or ""
            if not SHAPE.search(text) and not ELSEWHERE.search(text):
                found.append(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_on_arrays_say_shapes(path):
    assert not without_shape(path.read_text())


@pytest.mark.parametrize(
    ("docstring", "missing"),
    [
        ("Return the area of a mask (H, W).", []),
        ("Return the area of [B, C, H, W].", []),
        ("Return the area of rows (N,).", []),
        ("See `other`.", []),
        ("Return the area (in pixels) of a mask.", ["area"]),
        ("", ["area"]),
    ],
)
def test_a_missing_shape_is_found(docstring, missing):
    assert (
        without_shape(f'def area(mask: NDArray[bool]) -> int:\n    """{docstring}"""') == missing
    )
