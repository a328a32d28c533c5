"""Golden outputs of the SAM family: their folder, how to compare with them, and the models."""

from __future__ import annotations

import functools
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from sam_executors import Executor, TorchExecutor
from sam_random_weights import make_frame, make_tensor
from torch import Tensor, nn

from rmpsam_ros.model.checkpoint import read_state_dict
from rmpsam_ros.model.sam import PromptModel, build_prompt_model
from rmpsam_ros.model.sam.checkpoint import load_weights, rename_official_keys
from rmpsam_ros.segmentation.preprocess import MEAN, STD

RELATIVE = 1e-4
"""Tolerance of float32 values, relative to the largest value of an array."""

FLIPPED = 5e-4
"""Tolerance of masks: the share of pixels that differ."""

PICTURES = ("000000000034", "000000000049", "000000000078")
PROMPT_KINDS = ("point", "point_neg", "box", "box_point")
WEIGHTS = Path(__file__).parents[2] / "rmpsam_ros" / "weights" / "mobile_sam.safetensors"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One comparison: what, the error reached (0 for equal, 1 for unequal checksums)."""

    part: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # false for NaN


class PicturesMissing(Exception):
    """The pictures that a group needs are not on this machine."""


@dataclass(frozen=True)
class Reference:
    """A folder of goldens and manifests, where the pictures are, and what is compared."""

    folder: Path
    shared: Path | None
    executor: Executor = field(default_factory=TorchExecutor)

    def golden(self, name: str) -> Arrays:
        inner = self.folder / "golden"
        return np.load((inner if inner.is_dir() else self.folder) / f"{name}.npz")

    def shapes(self, model: str) -> dict[str, tuple[int, ...]]:
        """Keys and shapes of an official state dictionary, in its order."""
        full = self.folder / f"{model}_state_dict.json"
        if full.is_file():
            entries = json.loads(full.read_text())["entries"]
            return {entry["key"]: tuple(entry["shape"]) for entry in entries}
        with gzip.open(self.folder / "manifests.json.gz", "rt") as file:
            return {key: tuple(shape) for key, shape in json.load(file)[model].items()}

    def picture(self, name: str) -> np.ndarray:
        """A picture of coco128-seg, uint8 [H, W, 3], RGB."""
        path = self.shared and self.shared / "data" / "coco128-seg" / "images" / f"{name}.jpg"
        if path is None or not path.is_file():
            raise PicturesMissing(
                "the COCO pictures may not be part of this repository; set RMPSAM_SHARED to a "
                "folder with data/coco128-seg, or put it at ../shared"
            )
        return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def find_shared() -> Path | None:
    """The folder of data that cannot be part of the repository, if it is on this machine."""
    named = os.environ.get("RMPSAM_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2].parent / "shared"
    return folder if folder.is_dir() else None


# --- comparisons -------------------------------------------------------------------------------


def close(part: str, actual: Tensor | np.ndarray, expected: np.ndarray) -> Row:
    actual = np.asarray(actual)
    if actual.shape != expected.shape:
        raise AssertionError(f"{part}: shape {actual.shape} instead of {expected.shape}")
    error = np.abs(actual.astype(np.float64) - expected).max() / np.abs(expected).max()
    return Row(part, float(error), RELATIVE)


def close_where_kept(golden: Arrays, actual: Mapping[str, Tensor | np.ndarray]) -> Iterator[Row]:
    """Compare what is in the file: a trimmed one holds less."""
    for part, value in actual.items():
        if part in golden:
            yield close(part, value, golden[part])


def same_mask(part: str, actual: np.ndarray, packed: np.ndarray) -> Row:
    expected = np.unpackbits(packed, axis=-1, count=actual.shape[-1]).astype(bool)
    if actual.shape != expected.shape:
        raise AssertionError(f"{part}: shape {actual.shape} instead of {expected.shape}")
    return Row(part, float((actual != expected).mean()), FLIPPED)


def same_area(part: str, actual: np.ndarray, expected: np.ndarray, pixels: int) -> Row:
    return Row(part, float(np.abs(actual - expected).max() / pixels), FLIPPED)


def equal(part: str, actual: object, expected: object) -> Row:
    return Row(part, float(not np.array_equal(actual, expected)), 0.0)


def crc32(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


# --- weights and inputs ------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def mobile_sam() -> PromptModel:
    """MobileSAM with its weights, not folded, so that inner maps can be compared too."""
    model = build_prompt_model("mobile_sam")
    load_weights(model, read_state_dict(WEIGHTS), str(WEIGHTS))
    return model


def random_model(name: str, reference: Reference) -> PromptModel:
    """A model with the weights drawn from its official keys."""
    model = build_prompt_model(name)
    official = {key: make_tensor(key, shape) for key, shape in reference.shapes(name).items()}
    state = rename_official_keys({key: torch.from_numpy(v) for key, v in official.items()})
    if name == "rwkv_sam_t":  # there is no official decoder of this size
        state |= {k: v for k, v in model.state_dict().items() if k.startswith("mask_decoder.")}
    load_weights(model, state, "random weights")
    return model


def normalised_frame(name: str, height: int, width: int) -> Tensor:
    pixels = torch.from_numpy(make_frame(name, height, width)).permute(2, 0, 1).float()
    mean = torch.tensor(MEAN).reshape(3, 1, 1)
    std = torch.tensor(STD).reshape(3, 1, 1)
    return ((pixels - mean) / std)[None].contiguous()


@contextmanager
def recorded(**modules: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Outputs of modules, by the given names, while the context is open."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> None:
        outputs[name] = output

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name, module in modules.items()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
