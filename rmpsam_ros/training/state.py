"""Checkpoints of a run: everything to go on with, and the weights to ship."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from rmpsam_ros.model import CheckpointError, RmpSam, read_metadata
from rmpsam_ros.model.checkpoint import official_state_dict, read_state_dict
from rmpsam_ros.model.packaged import is_frozen
from rmpsam_ros.model.safe_pickle import read_pickle
from rmpsam_ros.segmentation.labels import LabelSet, parse_label_set
from rmpsam_ros.training.network import build_network
from rmpsam_ros.training.optimizer import WeightAverage

LAST = "last.pt"
BEST = "weights.safetensors"


class ResumeError(ValueError):
    """A run cannot be continued from what is in its folder."""


def save_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage[RmpSam],
    step: int,
    settings: dict[str, Any],
) -> None:
    """Write all that the next step depends on; the file is replaced in one go."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    tensors = {k: v for k, v in model.state_dict().items() if k not in frozen}
    content = {
        "model": tensors,
        "optimizer": optimizer.state_dict(),
        "average": average.tensors,
        "step": step,
        "settings": json.dumps(settings, sort_keys=True, default=str),
    }
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)


def load_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage[RmpSam]
) -> int:
    """Restore what ``save_state`` wrote and return the next step.

    Raises:
        ResumeError: the file does not belong to this network.
    """
    try:
        content = read_pickle(path)
        own = model.state_dict()
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        if set(content["model"]) != set(own) - frozen:
            raise ResumeError(f"'{path}' belongs to another network; start in an empty folder")
        model.load_state_dict(content["model"], strict=False)
        optimizer.load_state_dict(content["optimizer"])
        average.restore(content["average"], int(content["step"]))
        return int(content["step"])
    except ResumeError:
        raise
    except Exception as error:  # a damaged file fails in many ways inside torch.load
        raise ResumeError(f"'{path}' cannot be resumed from: {error}") from error


def export_weights(
    path: Path, model: RmpSam, network: str, label_set: LabelSet, notes: dict[str, str]
) -> None:
    """Write the weights to ship: float16 safetensors in the official key layout.

    The class table is the tensor ``text_embeddings`` [C, P, 768]; the metadata holds ``model``,
    ``label_set`` (JSON) and ``notes``. Frozen parts are left out: the package has them.
    """
    tensors: dict[str, Tensor] = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor.contiguous()
        for name, tensor in official_state_dict(model).items()
        if not is_frozen(name) and not name.endswith("num_batches_tracked")
    }
    tensors["text_embeddings"] = model.classifier.text_embeddings.half().contiguous()
    labels = [
        {"name": label.name, "is_thing": label.is_thing, "color": list(label.color)}
        for label in label_set.labels
    ]
    metadata = {
        "model": network,
        "label_set": json.dumps({"name": label_set.name, "labels": labels}),
        **notes,
    }
    temporary = path.with_suffix(".tmp")
    safetensors.torch.save_file(tensors, temporary, metadata)
    temporary.chmod(0o644)  # written for its owner only, but meant to be shipped
    os.replace(temporary, path)


def import_weights(path: Path, model: RmpSam) -> None:
    """Start from weights that ``export_weights`` wrote; other class tables are allowed.

    Raises:
        ResumeError: naming keys, if the weights are of another network.
    """
    tensors, _ = _read_weights(path)
    own = official_state_dict(model)
    wanted = {key for key in own if not is_frozen(key) and not key.endswith("num_batches_tracked")}
    given = set(tensors) - {"text_embeddings"}
    wrong = sorted(given ^ wanted)
    wrong += [key for key in sorted(given & wanted) if tensors[key].shape != own[key].shape]
    if wrong:
        raise ResumeError(f"'{path}' does not fit the network: {', '.join(wrong[:5])}")
    with torch.no_grad():
        for key in wanted:
            own[key].copy_(tensors[key])


def load_exported(path: Path) -> tuple[RmpSam, LabelSet]:
    """Build the network of an exported file, in eval mode, and return its label set with it.

    Raises:
        ResumeError: the file was not written by ``export_weights``.
    """
    tensors, metadata = _read_weights(path)
    if not {"model", "label_set"} <= set(metadata) or "text_embeddings" not in tensors:
        raise ResumeError(f"'{path}' says neither its network nor its labels")
    label_set = parse_label_set(json.loads(metadata["label_set"]), path.stem)
    table = torch.nn.functional.normalize(tensors["text_embeddings"].float(), dim=-1)
    network = build_network(metadata["model"], table)
    import_weights(path, network)
    return network.eval(), label_set


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file."""
    try:
        return read_state_dict(path), read_metadata(path)
    except CheckpointError as error:
        raise ResumeError(str(error)) from error
