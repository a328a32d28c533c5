"""Folding of batch normalisations and of parallel branches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rmpsam_ros.model.folding import fold_batch_norm
from rmpsam_ros.model.sam.layers import ConvNorm, LayerNorm2d
from rmpsam_ros.model.sam.repvit import RepDepthwise, keeping_block, widening_block
from rmpsam_ros.model.sam.tiny_vit import InvertedBottleneck, PatchMerging, TinyVitBlock


def with_statistics(module: nn.Module) -> nn.Module:
    """The module in eval mode, with normalisations that do something."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.2, 3.0)
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return module.eval()


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(ConvNorm(16, 6, 3, 2)),
        nn.Sequential(ConvNorm(16, 16, 3, groups=16)),
        nn.Sequential(RepDepthwise(16)),
        InvertedBottleneck(16),
        PatchMerging(16, 6, 2),
        TinyVitBlock(16, 2, 3),
        keeping_block(16, squeeze=True),
        widening_block(16, 6, 2),
    ],
    ids=lambda module: type(module).__name__,
)
def test_folding_changes_nothing_but_the_layers(module: nn.Module) -> None:
    module = with_statistics(module).double()
    x = torch.randn(2, 16, 7, 9, dtype=torch.float64)
    with torch.no_grad():
        before = module(x)
        fold_batch_norm(module)
        after = module(x)
        fold_batch_norm(module)
        again = module(x)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-10)
    assert torch.equal(again, after)


def test_folding_keeps_precision_and_mode() -> None:
    module = nn.Sequential(RepDepthwise(4)).to(torch.bfloat16).eval()
    fold_batch_norm(module)
    assert module[0].weight.dtype == torch.bfloat16
    assert not module[0].training


def test_normalisation_without_statistics_cannot_be_folded() -> None:
    module = nn.Sequential(ConvNorm(4, 4))
    module[0].bn = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(ValueError, match="running statistics"):
        fold_batch_norm(module)


def test_layer_norm_2d_normalises_every_pixel_over_its_channels() -> None:
    torch.manual_seed(0)
    norm = LayerNorm2d(6).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    expected = (x - mean) / (variance + 1e-6).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)
