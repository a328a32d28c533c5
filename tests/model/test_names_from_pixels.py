"""The class of an object, read from its pooled features besides its query."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rmpsam_ros.model import MODEL_CONFIGS, build_model
from rmpsam_ros.model.adapters import ObjectAdapter
from rmpsam_ros.model.pixels import Pixels


@pytest.fixture
def adapters() -> tuple[ObjectAdapter, ObjectAdapter]:
    """One without the branch and one with it, otherwise equal."""
    torch.manual_seed(0)
    plain, branched = ObjectAdapter(8, 5), ObjectAdapter(8, 5, names_from_pixels=True)
    missing, unexpected = branched.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(key.startswith("name_branch.") for key in missing)
    return plain, branched


def inputs() -> tuple[Pixels, torch.Tensor, torch.Tensor]:
    """Pixels, queries and mask logits: the first mask is empty, the last covers two pixels."""
    torch.manual_seed(1)
    logits = -torch.ones(1, 3, 20)
    logits[0, 1, 4:9] = 1
    logits[0, 2, 4:6] = 1
    return Pixels(torch.randn(1, 8, 20), (4, 5)), torch.randn(1, 3, 8), logits


def test_the_branch_starts_without_effect(adapters) -> None:
    for plain, branched in zip(*(adapter(*inputs()) for adapter in adapters), strict=True):
        assert torch.equal(plain, branched)


def test_it_adds_what_the_normalised_sum_over_the_mask_says(adapters) -> None:
    plain, branched = adapters
    nn.init.normal_(branched.name_branch[-1].weight)
    pixels, queries, logits = inputs()
    queries_before, embeddings_before = plain(pixels, queries, logits)
    queries_after, embeddings = branched(pixels, queries, logits)
    assert torch.equal(queries_after, queries_before)
    pooled = torch.stack(
        (torch.zeros(8), pixels.values[0, :, 4:9].sum(1), pixels.values[0, :, 4:6].sum(1))
    )
    norm, first, _, last = branched.name_branch
    expected = last(first(norm(pooled)).relu())
    torch.testing.assert_close(embeddings - embeddings_before, expected[None], atol=1e-5, rtol=0)
    assert bool(embeddings.isfinite().all())


def test_the_size_of_an_object_does_not_matter(adapters) -> None:
    _, branched = adapters
    nn.init.normal_(branched.name_branch[-1].weight)
    pooled = torch.randn(1, 8)
    torch.testing.assert_close(
        branched.name_branch(pooled), branched.name_branch(40 * pooled), atol=1e-3, rtol=1e-3
    )


def test_the_official_networks_have_no_such_branch() -> None:
    assert [name for name, one in MODEL_CONFIGS.items() if one.names_from_pixels] == [
        "rmpsam_tiny_vit_lite0",
        "rmpsam_lite",
    ]
    assert build_model("rmpsam_r18").object_adapter.name_branch is None


def test_names_of_known_masks() -> None:
    """The branch alone, over all frames of a tube; masks without pixels give no NaN."""
    torch.manual_seed(2)
    model = build_model("rmpsam_tiny_vit_lite0", torch.eye(768)[:3, None])
    branch = model.object_adapter.name_branch
    nn.init.normal_(branch[-1].weight)
    features, masks = torch.randn(2, 256, 4, 6), torch.rand(5, 2, 4, 6) > 0.5
    masks[4] = False
    with torch.inference_mode():
        logits = model.name_logits(features, masks)
        pooled = torch.stack([(features * mask[:, None]).sum((0, 2, 3)) for mask in masks.float()])
        expected = nn.functional.normalize(branch(pooled), dim=-1)[:, :3] * 100
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-4)
    assert bool(logits.isfinite().all())


def test_a_network_without_the_branch_has_no_names_of_masks() -> None:
    with pytest.raises(ValueError, match="only a network with names_from_pixels"):
        build_model("rmpsam_r18").name_logits(torch.zeros(1, 256, 2, 2), torch.ones(1, 1, 2, 2))
