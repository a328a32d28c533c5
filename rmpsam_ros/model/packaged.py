"""Weights that come with the package."""

from __future__ import annotations

from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from rmpsam_ros.model.checkpoint import CheckpointError, read_state_dict


class FrozenPart(NamedTuple):
    """A part of a network that is never trained, and that other weights leave out.

    Attributes:
        prefix: start of its keys, in this package and in the official layout.
        file: packaged file.
        own_prefix: start of the keys in that file.
        made_by: whose weights they are, for errors.
    """

    prefix: str
    file: str
    own_prefix: str
    made_by: str


FROZEN_PARTS = (
    FrozenPart("backbone.encoder.", "mobile_sam", "image_encoder.", "MobileSAM"),
    FrozenPart("backbone.lite0.", "efficientnet_lite0", "", "EfficientNet-Lite0"),
)

PRETRAINED_PARTS = (FrozenPart("backbone.trunk.", "efficientnet_lite0", "", "EfficientNet-Lite0"),)
"""Parts that training begins with from the package; afterwards they are a network's own."""


def packaged_weights(name: str) -> Path:
    """Return the path of the packaged safetensors file ``name``, without its suffix.

    Raises:
        CheckpointError: the package was installed without it.
    """
    path = Path(str(resources.files("rmpsam_ros") / "weights" / f"{name}.safetensors"))
    if not path.is_file():
        raise CheckpointError(f"the package lacks {path.name}; install it completely")
    return path


def is_frozen(key: str) -> bool:
    """Tell whether a key of a network's weights belongs to a frozen part."""
    return key.startswith(tuple(part.prefix for part in FROZEN_PARTS))


def with_frozen_parts(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add to weights the frozen parts that they leave out because the package has them.

    Args:
        model: the network that the weights are for.
        tensors: in the official key layout; a part of which they hold any tensor is theirs.

    Raises:
        CheckpointError: the package lacks a file.
    """
    added: dict[str, Tensor] = {}
    own = model.state_dict()
    for part in FROZEN_PARTS:
        if _is_left_out(part, own, tensors):
            path = packaged_weights(part.file)
            added.update(frozen_tensors(own, part, read_state_dict(path), path.name))
    return {**added, **tensors}


def frozen_files(model: nn.Module, tensors: Collection[str]) -> list[Path]:
    """Return the packaged files that `with_frozen_parts` adds parts of to these keys.

    Raises:
        CheckpointError: the package lacks a file.
    """
    own = model.state_dict()
    return [
        packaged_weights(part.file) for part in FROZEN_PARTS if _is_left_out(part, own, tensors)
    ]


def _is_left_out(part: FrozenPart, own: Collection[str], tensors: Collection[str]) -> bool:
    """Tell whether a network has a part that its weights leave out."""
    return any(key.startswith(part.prefix) for key in own) and not any(
        key.startswith(part.prefix) for key in tensors
    )


def pretrained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return all that the package has for a network before training, in the official layout.

    Frozen parts, and the beginning of parts that are trained.

    Raises:
        CheckpointError: the package lacks a file.
    """
    own = model.state_dict()
    tensors = with_frozen_parts(model, {})
    for part in PRETRAINED_PARTS:
        if any(key.startswith(part.prefix) for key in own):
            path = packaged_weights(part.file)
            tensors.update(frozen_tensors(own, part, read_state_dict(path), path.name))
    return tensors


def frozen_tensors(
    own: dict[str, Tensor], part: FrozenPart, stored: dict[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Return what ``stored`` holds for a frozen part, under the keys of a network's ``own``.

    Args:
        source: name of the file, for errors.

    Raises:
        CheckpointError: a tensor is missing or of another shape.
    """
    tensors = {}
    for key, value in own.items():
        if not key.startswith(part.prefix):
            continue
        wanted = part.own_prefix + key.removeprefix(part.prefix)
        if wanted not in stored or stored[wanted].shape != value.shape:
            raise CheckpointError(f"{source} has no fitting '{wanted}'; is it {part.made_by}'s?")
        tensors[key] = stored[wanted]
    return tensors
