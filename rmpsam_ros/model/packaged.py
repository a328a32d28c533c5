"""Weights that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from torch import Tensor, nn

from .checkpoint import CheckpointError, read_state_dict
from .tiny_vit_backbone import ENCODER_PREFIX, TinyVitBackbone, encoder_tensors


def packaged_weights(name: str) -> Path:
    """Return the path of the packaged safetensors file ``name``, without its suffix.

    Raises CheckpointError if the package was installed without it.
    """
    path = Path(str(resources.files("rmpsam_ros") / "weights" / f"{name}.safetensors"))
    if not path.is_file():
        raise CheckpointError(f"the package lacks {path.name}; install it completely")
    return path


def with_frozen_encoder(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add MobileSAM's encoder to weights that leave it out because the package has it.

    model: the network that the weights are for; only one with a ``TinyVitBackbone`` is concerned.
    tensors: in the official key layout. Raises CheckpointError if the package lacks MobileSAM.
    """
    backbone = getattr(model, "backbone", None)
    has_encoder = any(key.startswith(ENCODER_PREFIX) for key in tensors)
    if not isinstance(backbone, TinyVitBackbone) or has_encoder:
        return tensors
    path = packaged_weights("mobile_sam")
    return {**encoder_tensors(model, read_state_dict(path), path.name), **tensors}
