"""A network learns the feature map of another one before it learns the tasks themselves.

What stands behind the feature map (queries, decoder, adapters) is then taken over from the other
network and works from the first step on: with little data and time that is worth more than a
beginning of its own. Regressing hidden maps: Romero et al., FitNets (arXiv 1412.6550).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from rmpsam_ros.model import RmpSam
from rmpsam_ros.training.batches import Batch
from rmpsam_ros.training.state import ResumeError, load_exported

_OWN = ("backbone.", "neck.")
"""Start of the names of what makes the feature map; the rest is taken over."""


def load_teacher(path: Path, network: RmpSam) -> RmpSam:
    """Return the network of exported weights, frozen, after giving ``network`` its decoder.

    Raises:
        ResumeError: what is behind the feature maps, or the class table, differs.
    """
    teacher, _ = load_exported(path)
    teacher.requires_grad_(False)
    mine, theirs = (
        {key: value for key, value in model.state_dict().items() if not key.startswith(_OWN)}
        for model in (network, teacher)
    )
    wrong = sorted(set(mine) ^ set(theirs))
    wrong += [key for key in mine if key in theirs and mine[key].shape != theirs[key].shape]
    if wrong:
        raise ResumeError(f"'{path}' cannot be imitated, its decoder differs: {wrong[0]}")
    if not same_classes(network, teacher):
        raise ResumeError(f"'{path}' cannot be imitated, its class table differs")
    with torch.no_grad():
        for key, value in mine.items():
            value.copy_(theirs[key])
    return teacher


def same_classes(first: RmpSam, second: RmpSam) -> bool:
    """Tell whether two networks have the same class table (to the precision of float16)."""
    tables = first.classifier.text_embeddings, second.classifier.text_embeddings
    return tables[0].shape == tables[1].shape and torch.allclose(*tables, atol=1e-3)


class ImitationStep(nn.Module):
    """The loss of one batch: how far the feature map is from the teacher's."""

    def __init__(self, network: RmpSam, teacher: RmpSam) -> None:
        super().__init__()
        self.network = network
        self._teacher = [teacher]  # in a list: it is no part of what is trained and saved

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the loss ``features``; the batch's annotation does not count."""
        with torch.no_grad():
            expected = self._teacher[0].features(batch.images)
        return {"features": feature_loss(self.network.features(batch.images), expected)}


def feature_loss(actual: Tensor, expected: Tensor) -> Tensor:
    """Return the mean squared error of maps [B, d, h, w], each channel by its variance: 1 if flat.

    Channels differ in size by orders of magnitude, and the decoder's weights have got used to it.
    """
    over = (0, 2, 3)
    expected = expected.float()
    error = (actual.float() - expected).square().mean(over)
    return (error / expected.var(over).clamp(min=1e-6)).mean()
