"""The network of a training run."""

from __future__ import annotations

import torch
from torch import Tensor

from rmpsam_ros.model import RmpSam, build_model
from rmpsam_ros.model.packaged import pretrained_tensors


def build_network(name: str, text_embeddings: Tensor) -> RmpSam:
    """Build a network by name, a key of ``MODEL_CONFIGS``, in training mode.

    Frozen parts, and those with a pretrained beginning, have the weights in the package.
    """
    network = build_model(name, text_embeddings)
    own = network.state_dict()
    with torch.no_grad():
        for key, tensor in pretrained_tensors(network).items():
            own[key].copy_(tensor)
    return network.train()


def make_class_table(num_classes: int, seed: int, dim: int = 768, spread: float = 0.5) -> Tensor:
    """Return a class table [C, 1, dim] of unit vectors, equally far from one another.

    Every vector is the same direction plus ``spread`` times one of its own, all orthogonal: like
    text embeddings, which have much in common, so that "an object" is one direction.
    """
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(dim, num_classes + 1, generator=generator)).Q.T
    common, own = basis[:1], basis[1:]
    return ((1 - spread**2) ** 0.5 * common + spread * own).unsqueeze(1)
