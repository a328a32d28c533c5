"""The SAM family against outputs of the official implementations."""

from __future__ import annotations

import pytest
from sam_golden import GROUPS, compare
from sam_reference import PicturesMissing, Reference, Row

SLOW = {
    "mobile_sam/000000000078",
    "repvit_sam",
    "rwkv_sam/backbone_base",
    "rwkv_sam/decoder_base",
    "rwkv_sam/end_to_end",
    "segment_everything/grid_000000000049",
    "segment_everything/grid_000000000078",
}


@pytest.mark.parametrize(
    "group",
    [pytest.param(g, marks=pytest.mark.slow if g in SLOW else ()) for g in GROUPS],
)
def test_every_stored_array_is_reproduced(group: str, reference: Reference) -> None:
    """Values within 1e-4 of the largest one, masks but for 0.05 % of the pixels."""
    try:
        rows = compare(group, reference)
    except PicturesMissing as reason:
        pytest.skip(str(reason))
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_a_wrong_value_is_noticed() -> None:
    """The comparison itself: NaN and large errors are not ok."""
    assert not Row("x", float("nan"), 1e-4).ok
    assert not Row("x", 2e-4, 1e-4).ok
    assert Row("x", 1e-4, 1e-4).ok
