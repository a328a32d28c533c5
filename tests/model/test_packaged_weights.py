"""Every packaged file with weights has a card that is about this very file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rmpsam_ros.model import packaged_weights, read_metadata
from rmpsam_ros.model.checkpoint import CheckpointError, read_state_dict
from rmpsam_ros.model.packaged import FROZEN_PARTS, is_frozen

NAMES = ("efficientnet_lite0", "mobile_sam", "rmpsam_demo")


def test_all_files_are_listed_here() -> None:
    folder = packaged_weights("rmpsam_demo").parent
    assert sorted(path.stem for path in folder.glob("*.safetensors")) == sorted(NAMES)
    assert {part.file for part in FROZEN_PARTS} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_names_checksum_and_licence(name: str) -> None:
    path = packaged_weights(name)
    card = path.with_suffix(".md").read_text()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    assert "licence" in card
    licence = Path(str(path).replace(".safetensors", ".LICENSE.txt"))
    assert licence.is_file() == (licence.name in card)


def test_the_demo_weights_hold_no_frozen_part() -> None:
    path = packaged_weights("rmpsam_demo")
    assert read_metadata(path)["model"] == "rmpsam_tiny_vit_lite0"
    assert not any(is_frozen(key) for key in read_state_dict(path))


def test_weights_that_are_not_there() -> None:
    with pytest.raises(CheckpointError, match=r"the package lacks none\.safetensors"):
        packaged_weights("none")
