"""Reading, checking and writing weights of the SAM family."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .layers import fold_batch_norm
from .prompt_model import PromptModel
from .registry import build_prompt_model

_OFFICIAL_PREFIXES = {
    "backbone.": "image_encoder.backbone.",
    "neck.out_proj.": "image_encoder.neck.",
    "pe.": "prompt_encoder.",
    "mask_decoder.mask_decoder.": "mask_decoder.",
    "mask_decoder.hr_feat_proj.": "mask_decoder.fusion.hr_feat_proj.",
    "mask_decoder.mr_feat_proj.": "mask_decoder.fusion.mr_feat_proj.",
    "mask_decoder.mix_feat_proj.": "mask_decoder.fusion.mix_feat_proj.",
}
"""How the official RWKV-SAM calls its parts; the other models use the same names as here."""

_SHOWN_KEYS = 20


class CheckpointError(ValueError):
    """A file does not hold the weights of the model; says every key that does not fit."""

    def __init__(
        self, source: str, missing: list[str], unexpected: list[str], misshaped: list[str]
    ) -> None:
        self.missing, self.unexpected, self.misshaped = missing, unexpected, misshaped
        lines = [f"{source} does not fit the model; is it a checkpoint of another one?"]
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshaped),
        ):
            if keys:
                more = f", and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
                lines.append(f"{len(keys)} {what}: {', '.join(keys[:_SHOWN_KEYS])}{more}")
        super().__init__("\n".join(lines))


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` file or of a PyTorch checkpoint, by key, on the CPU.

    PyTorch files are read with restricted unpickling, so they can run no code; a state dictionary
    under the key `state_dict` or `model` is found too. Raises FileNotFoundError, and ValueError
    when the file holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as weights ({error}); expected a .safetensors file or a "
            "PyTorch checkpoint that holds nothing but tensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = dict(content) if isinstance(content, Mapping) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path} holds no state dictionary, got {type(content).__name__}")
    return tensors


def rename_official_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under this package's keys; keys that are already ours stay."""
    renamed = {}
    for key, value in state.items():
        for official, ours in _OFFICIAL_PREFIXES.items():
            if key.startswith(official):
                key = ours + key.removeprefix(official)
                break
        renamed[key] = value
    return renamed


def load_prompt_model(name: str, path: str | os.PathLike[str]) -> PromptModel:
    """A model of the registry with the weights of a file, in eval mode, float32, on the CPU.

    Takes official checkpoints and files written by `save_weights`, whether batch normalisations
    are folded in them or not; in the returned model they are folded, which changes nothing but
    speed (RepViT, structural re-parameterisation). Raises ValueError for an unknown name or an
    unreadable file, and CheckpointError with all missing, unexpected and mis-shaped keys.
    """
    model = build_prompt_model(name)
    state = rename_official_keys(read_state_dict(path))
    if not any(key.endswith(".running_mean") for key in state):
        fold_batch_norm(model)
    load_weights(model, state, str(path))
    fold_batch_norm(model)
    return model


def load_weights(model: PromptModel, state: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a model of the same keys and shapes, converting to its type.

    Raises CheckpointError, which names `source`, before anything is copied.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshaped = [
        f"{key} {list(state[key].shape)} instead of {list(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if missing or unexpected or misshaped:
        raise CheckpointError(source, missing, unexpected, misshaped)
    model.load_state_dict(state)


def save_weights(
    model: PromptModel, path: str | os.PathLike[str], dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights as safetensors, floating-point tensors as `dtype`."""
    state = {
        key: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(state, path)
