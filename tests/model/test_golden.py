"""The network against the outputs of the official implementation, all paths, R18 and R50."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

FILES = (
    "dcn",
    "head_synthetic",
    "image_r18_128x192",
    "prompt_r18_128x192",
    "video_r18_T2_64x96",
    "image_r50_128x192",
    "image_r50_256x320",
    "prompt_r50_128x192",
    "video_r50_T2_64x96",
    "panoptic_e2e_r50",
    "interactive_e2e",
)

NOT_ROBUST = {"image_r50_256x320"}
"""Inputs with mask logits so close to zero that float32 rounding may flip them."""


@pytest.mark.parametrize("name", FILES)
def test_every_stored_array_is_reproduced(
    name: str, data: Path, golden_network: ModuleType
) -> None:
    """float64 within 1e-5, float32 within the tolerance of its kind of array."""
    comparison = golden_network.compare_file(data / "golden", name)
    assert not comparison.left
    assert [row for row in comparison.rows if not row.ok] == []
    assert comparison.flips == 0 or name in NOT_ROBUST


def test_all_golden_files_are_listed(data: Path) -> None:
    """A file added to the folder must be run too."""
    assert {path.stem for path in (data / "golden").glob("*.npz")} == set(FILES)
