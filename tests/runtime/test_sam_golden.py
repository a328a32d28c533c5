"""The exported SAM family in ONNX Runtime against outputs of the official implementations."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS.parent / "tools" / "goldens"))

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from sam_executors import OnnxExecutor  # noqa: E402
from sam_golden import ENGINE_GROUPS, compare  # noqa: E402
from sam_reference import PicturesMissing, Reference, find_shared  # noqa: E402

FAST = {"mobile_sam/synthetic", "rwkv_sam/decoder_small"}
# The same graphs as the small ones, with wider layers.
EXHAUSTIVE = {"rwkv_sam/decoder_base"}


def mark(group: str) -> pytest.MarkDecorator | tuple[()]:
    """How long a group takes."""
    if group in EXHAUSTIVE:
        return pytest.mark.exhaustive
    return () if group in FAST else pytest.mark.slow


@pytest.fixture(scope="module")
def reference() -> Reference:
    return replace(Reference(TESTS / "goldens" / "sam", find_shared()), executor=OnnxExecutor())


@pytest.mark.parametrize(
    "group",
    [pytest.param(group, marks=mark(group)) for group in ENGINE_GROUPS],
)
def test_every_stored_array_is_reproduced(group: str, reference: Reference) -> None:
    """Points, boxes, both, masks as prompts, three masks, everything: as in PyTorch."""
    try:
        rows = compare(group, reference)
    except PicturesMissing as reason:
        pytest.skip(str(reason))
    assert rows
    assert [row for row in rows if not row.ok] == []
