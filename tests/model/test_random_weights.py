"""Generated weights are the same everywhere."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
import torch

from rmpsam_ros.model import build_model, load_random_weights, random_text_embeddings
from rmpsam_ros.model.random_weights import random_tensor


@pytest.mark.parametrize(("depth", "checksum"), [(18, "e5100975"), (50, "ca3d5783")])
def test_checksum_of_all_tensors(depth: int, checksum: str, data: Path) -> None:
    total = 0
    for line in (data / f"official_keys_r{depth}.txt").read_text().splitlines():
        key, *shape = line.split()
        total = zlib.crc32(random_tensor(key, tuple(map(int, shape))).tobytes(), total)
    assert f"{total:08x}" == checksum


@pytest.mark.parametrize(
    ("name", "classes", "synonyms", "checksum"),
    [
        ("text_embeddings.coco133", 133, 17, "549d141f"),
        ("text_embeddings.ytvis40", 40, 1, "bda070c1"),
        ("text_embeddings.train155", 155, 17, "f3346815"),
    ],
)
def test_checksum_of_text_embeddings(
    name: str, classes: int, synonyms: int, checksum: str
) -> None:
    table = random_text_embeddings(name, classes, synonyms)
    assert f"{zlib.crc32(table.numpy().tobytes()):08x}" == checksum


def test_loading_fills_every_weight() -> None:
    a, b = build_model("rmpsam_r18"), build_model("rmpsam_r18")
    load_random_weights(a)
    load_random_weights(b)
    for key, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[key]), key
