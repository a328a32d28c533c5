"""Reading, checking and writing weights of the SAM family."""

import os
from collections.abc import Mapping

import torch
from safetensors.torch import save_file
from torch import Tensor

from rmpsam_ros.model.checkpoint import CheckpointError, read_state_dict
from rmpsam_ros.model.folding import fold_batch_norm
from rmpsam_ros.model.sam.prompt_model import PromptModel
from rmpsam_ros.model.sam.registry import build_prompt_model

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


def load_prompt_model(name: str, path: str | os.PathLike[str]) -> PromptModel:
    """A model of the registry with the weights of a file, in eval mode, float32, on the CPU.

    Takes official checkpoints (.pt, .pth, read without running anything in them) and safetensors
    files as `save_weights` writes them, whether batch normalisations are folded in them or not. In
    the returned model they are folded, which changes nothing but speed (RepViT: structural
    re-parameterisation).

    Raises:
        ValueError: an unknown name.
        CheckpointError: an unreadable file, or one that does not fit, with every key that is
            missing, unexpected, of another shape or not finite.
    """
    model = build_prompt_model(name)
    state = rename_official_keys(read_state_dict(path))
    if not any(key.endswith(".running_mean") for key in state):
        fold_batch_norm(model)
    load_weights(model, state, str(path))
    fold_batch_norm(model)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


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


def load_weights(model: torch.nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into a module of the same keys and shapes, converting to its type.

    Raises:
        CheckpointError: the tensors do not fit; the error names `source`. Nothing is copied.
    """
    own = model.state_dict()
    common = [key for key in own if key in state]
    problems = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
            for key in common
            if state[key].shape != own[key].shape
        ],
    }
    if not problems["of another shape"]:  # else a look at all values may take any memory
        problems["not finite"] = [key for key in common if not bool(state[key].isfinite().all())]
    lines = [f"  {len(keys)} {what}: {', '.join(keys)}" for what, keys in problems.items() if keys]
    if lines:
        raise CheckpointError(
            f"{source} does not fit this model; is it a checkpoint of another one?\n"
            + "\n".join(lines)
        )
    model.load_state_dict(state)


def save_weights(
    model: PromptModel, path: str | os.PathLike[str], dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights as safetensors, floating-point tensors as `dtype`."""
    state = {
        key: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(state, path, metadata={"format": "pt"})
