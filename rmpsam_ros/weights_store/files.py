"""Looks into files with weights, and converts official checkpoints of the prompt engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rmpsam_ros.model.checkpoint import CheckpointError, read_state_dict
from rmpsam_ros.model.folding import fold_batch_norm
from rmpsam_ros.model.sam import PROMPT_MODELS, build_prompt_model, load_prompt_model
from rmpsam_ros.model.sam.checkpoint import load_weights, rename_official_keys
from rmpsam_ros.weights_store.fetch import sha256_of
from rmpsam_ros.weights_store.table import WeightsError, load_table


@dataclass(frozen=True, slots=True)
class Description:
    """What is in a file with weights.

    Attributes:
        path, sha256, megabytes: of the file, 10^6 bytes.
        tensors: name, shape and number format, in the order of the file.
        parameters: numbers in all floating-point tensors.
        metadata: of a safetensors file.
        known_as, licence: by its sha256; empty if it is not in the table.
    """

    path: Path
    sha256: str
    megabytes: float
    tensors: list[tuple[str, tuple[int, ...], str]]
    parameters: int
    metadata: dict[str, str]
    known_as: str = ""
    licence: str = ""


def describe(path: Path) -> Description:
    """Read a file with weights without running anything in it.

    Raises:
        WeightsError: it cannot be read, or is no file with weights.
    """
    state = _read(path)
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
    digest = sha256_of(path)
    entry = next((known for known in load_table().values() if known.sha256 == digest), None)
    return Description(
        path=path,
        sha256=digest,
        megabytes=path.stat().st_size / 1e6,
        tensors=[
            (name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for name, tensor in state.items()
        ],
        parameters=sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point()),
        metadata=metadata,
        known_as=entry.name if entry else "",
        licence=entry.licence if entry else "",
    )


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did.

    Attributes:
        tensors, parameters: in the new file.
        renamed: keys that have other names now.
        largest_rounding: largest difference of a value to what it was, relative to the largest of
            its tensor, and the key of that tensor.
    """

    tensors: int
    parameters: int
    renamed: list[tuple[str, str]]
    largest_rounding: tuple[float, str]


def convert(source: Path, target: Path, model: str, dtype: torch.dtype) -> Conversion:
    """Convert a checkpoint of a prompt engine to safetensors that `load_prompt_model` takes.

    Every key must fit the model: missing, unexpected, mis-shaped and not finite ones are all named
    in the error. Values keep their meaning; they are rounded to ``dtype`` and nothing else.

    Raises:
        WeightsError: the file does not fit, a value has no place in ``dtype``, or the new file
            cannot be written.
    """
    if model not in PROMPT_MODELS:
        raise WeightsError(
            f"prompt engine '{model}' is unknown; use one of {', '.join(PROMPT_MODELS)}. Official "
            "RMP-SAM checkpoints need no conversion: give them to the node as they are"
        )
    official = _read(source)
    state = rename_official_keys(official)
    network = build_prompt_model(model)
    if not any(key.endswith(".running_mean") for key in state):
        fold_batch_norm(network)
    try:
        load_weights(network, state, str(source))
    except CheckpointError as error:
        raise WeightsError(" ".join(str(error).split())) from error
    rounded = {
        key: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for key, value in state.items()
    }
    lost = [key for key, value in rounded.items() if not bool(value.isfinite().all())]
    if lost:
        raise WeightsError(f"values of {', '.join(lost)} are too large for {dtype}; use fp32")
    try:
        save_file(
            rounded, target, metadata={"format": "pt", "model": model, "source": source.name}
        )
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"'{target}' cannot be written: {error}") from error
    target.chmod(0o644)  # written for its owner only
    load_prompt_model(model, target)  # what was written can be read
    return Conversion(
        tensors=len(rounded),
        parameters=sum(
            tensor.numel() for tensor in rounded.values() if tensor.is_floating_point()
        ),
        renamed=[(old, new) for old, new in zip(official, state, strict=True) if old != new],
        largest_rounding=max((_rounding(state[key], rounded[key]), key) for key in state),
    )


def _rounding(before: Tensor, after: Tensor) -> float:
    if not before.is_floating_point() or not before.numel():
        return 0.0
    scale = float(before.abs().max())
    return float((before.double() - after.double()).abs().max()) / scale if scale else 0.0


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"'{path}' is not a file")
    try:
        return dict(read_state_dict(path))
    except (CheckpointError, OSError) as error:
        raise WeightsError(" ".join(str(error).split())) from error
