"""Builds the network from a configuration: architecture, weights, class table."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmpsam_ros import defaults
from rmpsam_ros.model import (
    MODEL_CONFIGS,
    RmpSam,
    build_model,
    frozen_files,
    packaged_weights,
    read_metadata,
    with_frozen_parts,
)
from rmpsam_ros.model.checkpoint import (
    CheckpointError,
    load_official_state_dict,
    read_state_dict,
)
from rmpsam_ros.model.random_weights import load_random_weights, random_text_embeddings
from rmpsam_ros.model.safe_pickle import read_pickle
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.segmentation.labels import (
    LabelSet,
    LabelSetError,
    load_label_set,
    parse_label_set,
)
from rmpsam_ros.weights_store import WeightsError
from rmpsam_ros.weights_store.verify import verify_listed

DEFAULT_MODEL = "rmpsam_r18"
DEFAULT_LABELS = "coco_panoptic"
DEMO, RANDOM = "demo", "random"  # names of weights that need no file of the user's
DEMO_WEIGHTS = "rmpsam_demo"  # in the package
RANDOM_WEIGHTS = "random weights: results are meaningless"
RANDOM_SYNONYMS = 2
MAX_TABLE = 100_000_000  # values: 2000 classes with 60 synonyms
MAX_CLIP_FRAMES = 16  # the paper's clips have 5

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Which network runs, with what, where.

    Attributes:
        model: name of a configuration in `rmpsam_ros.model.MODEL_CONFIGS`; empty: the one that the
            weights say they are of, or rmpsam_r18.
        weights: checkpoint file (.safetensors, .pth); demo: the model in the package; random or
            empty: random weights.
        text_embeddings: (C, P, 768) class table (.safetensors, .npy, .pth); empty: the one in the
            weights file if it holds one, or a random one for random weights.
        engine: auto (the fastest that is installed), torch, onnxruntime, openvino or tensorrt.
        device: auto, cpu, cuda or cuda:N.
        precision: auto (the fastest whose results agree with fp32), fp32, bf16, fp16 or int8. If
            its results do not agree, the next better one runs. Random weights: auto is fp32.
        num_threads: threads of the network on a CPU; 0: one per core.
        cache_folder: where built engines are kept; empty: ~/.cache/rmpsam_ros.
        clip_frames: most frames of a tube that `Engine.decode_tube` is needed for, up to
            MAX_CLIP_FRAMES; 1: not at all.
    """

    model: str = ""
    weights: str = ""
    text_embeddings: str = ""
    engine: str = defaults.ENGINE
    device: str = defaults.DEVICE
    precision: str = "auto"
    num_threads: int = defaults.NUM_THREADS
    cache_folder: str = ""
    clip_frames: int = defaults.CLIP_FRAMES

    @property
    def weights_name(self) -> str:
        """How people are told which weights run."""
        return Path(self.weights).name if self.weights else RANDOM_WEIGHTS


def resolve(config: EngineConfig) -> EngineConfig:
    """Replace names by what they stand for: packaged weights, and the model that weights are of.

    Raises:
        EngineError: there is no such file, or the weights are of another model.
    """
    weights = "" if config.weights == RANDOM else config.weights
    try:
        if weights == DEMO:
            weights = str(packaged_weights(DEMO_WEIGHTS))
        own = weights_metadata(weights).get("model", "")
    except CheckpointError as error:
        raise EngineError(" ".join(str(error).split())) from error
    if config.model and own and config.model != own:
        raise EngineError(
            f"weights '{config.weights}' are of model {own}, not {config.model}; leave model "
            f"empty, or name weights of {config.model} ('{RANDOM}': random ones)"
        )
    return replace(config, model=config.model or own or DEFAULT_MODEL, weights=weights)


def label_set_of(config: EngineConfig, labels: str) -> LabelSet:
    """Return the label set that is asked for, or that of the weights, or coco_panoptic.

    Args:
        labels: name or file, as `segmentation.load_label_set` takes it; empty: not asked for.

    Raises:
        EngineError, LabelSetError: weights or label set cannot be read.
    """
    if labels:
        return load_label_set(labels)
    weights = resolve(config).weights
    own = weights_metadata(weights).get("label_set")
    if own is None:
        return load_label_set(DEFAULT_LABELS)
    try:
        return parse_label_set(json.loads(own), Path(weights).stem)
    except (ValueError, RecursionError) as error:
        raise LabelSetError(f"the label set in weights '{weights}': {error}") from error


def weights_metadata(weights: str) -> dict[str, str]:
    """Return what a weights file says about itself; nothing if there is no such file."""
    return read_metadata(weights) if weights and Path(weights).is_file() else {}


def load_network(config: EngineConfig, num_classes: int, progress: Progress) -> RmpSam:
    """Build the network, load its weights and its class table, on the CPU.

    Raises:
        EngineError: the model, the weights or the class table cannot be used.
    """
    config = resolve(config)
    _check(config)
    progress(f"building {config.model}")
    model = build_model(config.model)
    own_table = _load_weights(model, config, progress)
    try:
        model.set_text_embeddings(_text_embeddings(config, own_table, num_classes))
    except ValueError as error:
        raise EngineError(f"class table: {error}") from error
    return model


def network_digest(model: RmpSam) -> str:
    """Return a sha256 over all weights, buffers and the class table of a network."""
    digest = hashlib.sha256()
    tensors = dict(model.state_dict(), text_embeddings=model.classifier.text_embeddings)
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _check(config: EngineConfig) -> None:
    if not 1 <= config.clip_frames <= MAX_CLIP_FRAMES:
        raise EngineError(
            f"clip_frames is {config.clip_frames}; expected 1 (single frames) to {MAX_CLIP_FRAMES}"
        )
    if config.model not in MODEL_CONFIGS:
        raise EngineError(
            f"model '{config.model}' is unknown; use one of {', '.join(sorted(MODEL_CONFIGS))}"
        )
    if config.text_embeddings and not config.weights:
        raise EngineError("text_embeddings is set but weights is not; set both or neither")
    for name, path in (("weights", config.weights), ("text_embeddings", config.text_embeddings)):
        if path and not Path(path).is_file():
            what = "is not a file" if Path(path).exists() else "does not exist"
            raise EngineError(f"{name} '{path}' {what}")
    may_hold_table = config.weights.endswith(".safetensors")
    if config.weights and not (config.text_embeddings or may_hold_table):
        raise _no_class_table(config)


def _load_weights(model: RmpSam, config: EngineConfig, progress: Progress) -> torch.Tensor | None:
    """Fill the network, and return the class table if the file holds one."""
    if not config.weights:
        progress("no weights given: using random weights, results will be meaningless")
        load_random_weights(model)
        return None
    progress(f"loading weights {config.weights}")
    try:
        verify_listed(Path(config.weights))
        stored = read_state_dict(Path(config.weights))
        for path in frozen_files(model, stored):
            verify_listed(path)
        tensors = with_frozen_parts(model, stored)
        own_table = tensors.pop("text_embeddings", None)
        load_official_state_dict(model, tensors, source=config.weights)
    except (CheckpointError, WeightsError) as error:
        raise EngineError(" ".join(str(error).split())) from error
    return own_table


def _text_embeddings(
    config: EngineConfig, own_table: torch.Tensor | None, num_classes: int
) -> torch.Tensor:
    if config.text_embeddings:
        source = f"text_embeddings '{config.text_embeddings}'"
        table = read_text_embeddings(Path(config.text_embeddings))
    elif own_table is not None:
        source = f"the class table in '{config.weights}'"
        table = _checked_table(own_table, source)
    elif config.weights:
        raise _no_class_table(config)
    else:
        return random_text_embeddings("text_embeddings", num_classes, RANDOM_SYNONYMS)
    if table.shape[0] != num_classes:
        raise EngineError(
            f"{source} has {table.shape[0]} classes, the label set has {num_classes}; use the "
            "table that belongs to the label set"
        )
    return table


def _no_class_table(config: EngineConfig) -> EngineError:
    return EngineError(
        f"weights '{config.weights}' need a class table: set text_embeddings to a file with "
        "the (classes, synonyms, 768) text embeddings they were trained with"
    )


def read_text_embeddings(path: Path) -> torch.Tensor:
    """Read a class table, (C, P, 768) or (C, 768), and return it as (C, P, 768) float32.

    Raises:
        EngineError: the file cannot be read without executing code, or holds something else.
    """
    try:
        table = _read_tensor(path)
    except (OSError, ValueError, RuntimeError) as error:
        first_line = re.split(r"[\r\n]", str(error), maxsplit=1)[0]
        raise EngineError(f"text_embeddings '{path}' cannot be read: {first_line}") from error
    return _checked_table(table, f"text_embeddings '{path}'")


def _checked_table(table: torch.Tensor, source: str) -> torch.Tensor:
    """Return a class table as (C, P, 768) float32 unit vectors, or raise EngineError."""
    if table.ndim == 2:
        table = table.unsqueeze(1)
    if table.ndim != 3 or table.shape[-1] != 768 or not table.is_floating_point():
        raise EngineError(
            f"{source}: {table.dtype} {tuple(table.shape)}; expected floats of shape (classes, "
            "synonyms, 768)"
        )
    if table.numel() > MAX_TABLE:  # before it is converted
        raise EngineError(f"{source}: {tuple(table.shape)}; expected at most {MAX_TABLE} values")
    table = table.float()
    if not bool(torch.isfinite(table).all()):
        raise EngineError(f"{source} holds values that are not finite")
    return torch.nn.functional.normalize(table, dim=-1)


def _read_tensor(path: Path) -> torch.Tensor:
    if path.suffix == ".npy":
        # Mapped, because a header may promise more than there is memory.
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    if path.suffix == ".safetensors":
        loaded: Any = read_state_dict(path)
    elif path.suffix in (".pth", ".pt"):
        loaded = read_pickle(path)
        if isinstance(loaded, torch.Tensor):
            return loaded
    else:
        raise ValueError(f"suffix '{path.suffix}' is unknown; use .npy, .safetensors or .pth")
    if not isinstance(loaded, dict) or len(loaded) != 1:
        raise ValueError("expected exactly one tensor in the file")
    return next(iter(loaded.values()))
