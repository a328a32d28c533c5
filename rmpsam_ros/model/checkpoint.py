"""Reading and writing checkpoints in the key layout of the official implementation.

Files are read without ever executing what is inside them. The key layout is that of
docs/reference/rmpsam.md, section 15; ``official_key`` translates this package's names into it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rmpsam_ros.model.safe_pickle import UnsafeFileError, read_pickle

_PREFIXES: tuple[tuple[str, str], ...] = (
    *((f"neck.lateral_convs.{i}.", f"neck.deconv.lateral_conv{i}.") for i in range(4)),
    *((f"neck.upsamples.{i}.", f"neck.deconv.deform_conv{i + 1}.") for i in range(3)),
    *((f"neck.aggregation_convs.{i}.", f"neck.deconv.conv_a{5 - i}.") for i in range(4)),
    ("neck.aggregation_bias", "neck.deconv.bias"),
    ("neck.output_conv.", "neck.deconv.output_conv."),
    ("neck.location_conv.", "neck.loc_conv."),
    ("object_queries", "panoptic_head.kernels.weight"),
    ("prompt_encoder.position_layer.", "panoptic_head.pos_linear."),
    ("prompt_encoder.label_embedding.", "panoptic_head.pb_embedding."),
    ("prompt_encoder.mask_token", "panoptic_head.mask_tokens.weight"),
    ("decoder.stages.", "panoptic_head.mask_heads."),
    ("object_adapter.kernel_update.", "panoptic_head.panoptic_attn."),
    ("object_adapter.class_layer.", "panoptic_head.panoptic_cls.0."),
    ("prompt_adapter.attention.", "panoptic_head.prompt_attn.attn."),
    ("prompt_adapter.norm.", "panoptic_head.prompt_norm."),
    ("prompt_adapter.iou_layer.", "panoptic_head.prompt_iou."),
)
"""Start of a key here, and what replaces it in the official layout."""

_PARTS: tuple[tuple[str, str], ...] = (
    (".offset_conv.", ".dcn_offset."),
    (".deform_conv.", ".dcn."),
    (".deform_norm.", ".dcn_bn."),
    (".upsample_conv.", ".up_sample."),
    (".upsample_norm.", ".up_bn."),
    (".self_attention.", ".s_atten."),
    (".self_attention_norm.", ".s_atten_norm."),
    (".ffn.0.", ".ffn.layers.0.0."),
    (".ffn.2.", ".ffn.layers.1."),
    (".class_branch.3.", ".cls_proj."),
    (".class_branch.", ".cls_fcs."),
    (".mask_branch.", ".mask_fcs."),
    (".mask_kernel.", ".fc_mask."),
    (".iou_branch.", ".iou_embed."),
)
"""Part of a neck or decoder key here, and what replaces it; the first that matches counts."""

_IGNORED = re.compile(r"^data_preprocessor\.|\.fc_cls$|\.logit_scale$|\.num_batches_tracked$")
"""Entries of a file that the network does not need: constants and the class table."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit the network."""


def official_key(key: str) -> str:
    """Translate a state-dict key of ``RmpSam`` into the official layout."""
    for prefix, replacement in _PREFIXES:
        if key.startswith(prefix):
            key = replacement + key.removeprefix(prefix)
            break
    for part, replacement in _PARTS:
        if part in key:
            return key.replace(part, replacement)
    return key


def official_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and buffers of an ``RmpSam`` under official keys."""
    return {official_key(key): value for key, value in model.state_dict().items()}


def load_checkpoint(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load weights from a file into an ``RmpSam``, casting them to the model's precision.

    Args:
        path: ``.safetensors``, or ``.pth`` / ``.pt`` holding a state dict or a training checkpoint
            that has one under ``state_dict``, in the official layout.

    Raises:
        CheckpointError: before anything is changed, when the file cannot be read safely, a key is
            missing, unexpected or of the wrong shape, or a value is not finite.
    """
    load_official_state_dict(model, read_state_dict(path), source=str(path))


def save_checkpoint(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the weights of an ``RmpSam`` as safetensors in the official layout."""
    tensors = {key: value.contiguous() for key, value in official_state_dict(model).items()}
    safetensors.torch.save_file(tensors, path)


def load_official_state_dict(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str = "state dict"
) -> None:
    """Load a state dict in the official layout; see ``load_checkpoint`` for what is checked."""
    given = {_on_disk_key(key): value for key, value in state_dict.items()}
    given = {key: value for key, value in given.items() if not _IGNORED.search(key)}
    own = model.state_dict()
    wanted = {official_key(key): key for key in own if not _IGNORED.search(key)}

    missing = [key for key in wanted if key not in given]
    unexpected = [key for key in given if key not in wanted]
    common = [key for key in wanted if key in given]
    misshaped = [
        f"{key}: {list(given[key].shape)} instead of {list(own[wanted[key]].shape)}"
        for key in common
        if given[key].shape != own[wanted[key]].shape
    ]
    # Only of the right shape: of another one, a look at all values may take any memory.
    fitting = [] if misshaped else common
    not_finite = [key for key in fitting if not bool(torch.isfinite(given[key]).all())]
    problems = [
        _summary("missing", missing),
        _summary("unexpected", unexpected),
        _summary("wrong shape", misshaped),
        _summary("not finite", not_finite),
    ]
    if any(problems):
        raise CheckpointError(
            f"{source} does not fit this network (is it the right backbone?)\n"
            + "\n".join(problem for problem in problems if problem)
        )
    with torch.no_grad():
        for key in common:
            own[wanted[key]].copy_(given[key])


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file without executing anything in it.

    Returns:
        Keys as they are in the file.

    Raises:
        CheckpointError: the file cannot be read safely.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint file at {path}")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        content = read_pickle(path, foreign=True)
    except UnsafeFileError as error:
        raise CheckpointError(str(error)) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no state dict but a {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds no state dict: entry {key!r} is a {type(value).__name__}"
            )
    return dict(content)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the texts that a safetensors file carries; none for files of other kinds.

    ``rmpsam train`` writes ``model``, a key of ``MODEL_CONFIGS``, and ``label_set``, a label set
    as JSON.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return {}
    try:
        with safetensors.safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def _on_disk_key(key: str) -> str:
    """Undo renamings that training code is known to apply to official keys."""
    key = key.removeprefix("module.")
    # A compatibility hook of the official stack renames this one layer
    # (docs/reference/rmpsam.md, section 15).
    return key.replace("panoptic_head.conv_cls.", "panoptic_head.panoptic_cls.", 1)


def _summary(title: str, items: Iterable[str], limit: int = 8) -> str:
    """Return "title (count): first items, ...", or an empty string without items."""
    items = list(items)
    if not items:
        return ""
    shown = ", ".join(items[:limit]) + (", ..." if len(items) > limit else "")
    return f"  {title} ({len(items)}): {shown}"
