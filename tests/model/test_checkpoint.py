"""Checkpoints: the official layout, what is refused, and that nothing in a file is executed."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from rmpsam_ros.model import (
    CheckpointError,
    RmpSam,
    build_model,
    load_checkpoint,
    load_random_weights,
    save_checkpoint,
)
from rmpsam_ros.model.checkpoint import official_key, official_state_dict

CLASS_LAYER = "panoptic_head.panoptic_cls.0.weight"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    model = build_model("rmpsam_r18")
    load_random_weights(model)
    return {key: value.clone() for key, value in official_state_dict(model).items()}


@pytest.fixture
def fresh() -> RmpSam:
    return build_model("rmpsam_r18")


def assert_loaded(model: RmpSam, weights: dict[str, Tensor]) -> None:
    loaded = official_state_dict(model)
    assert loaded.keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(loaded[key], value), key


@pytest.mark.parametrize("depth", [18, 50])
def test_keys_and_shapes_are_the_official_ones(depth: int, data: Path) -> None:
    lines = (data / f"official_keys_r{depth}.txt").read_text().splitlines()
    official = {key: tuple(map(int, shape)) for key, *shape in map(str.split, lines)}
    own = official_state_dict(build_model(f"rmpsam_r{depth}"))
    assert {key: tuple(value.shape) for key, value in own.items()} == official


def test_no_key_is_used_twice() -> None:
    keys = list(build_model("rmpsam_r18").state_dict())
    assert len({official_key(key) for key in keys}) == len(keys)


def test_plain_pth(fresh: RmpSam, weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "w.pth")
    load_checkpoint(fresh, tmp_path / "w.pth")
    assert_loaded(fresh, weights)


def test_save_and_load_safetensors(weights: dict[str, Tensor], tmp_path: Path) -> None:
    model = build_model("rmpsam_r18").to(memory_format=torch.channels_last)
    load_random_weights(model)
    save_checkpoint(model, tmp_path / "w.safetensors")
    with safetensors.safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert set(file.keys()) == set(weights)
    again = build_model("rmpsam_r18")
    load_checkpoint(again, str(tmp_path / "w.safetensors"))
    assert_loaded(again, weights)


def test_half_precision_weights_are_cast(
    fresh: RmpSam, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    safetensors.torch.save_file(half, tmp_path / "half.safetensors")
    load_checkpoint(fresh, tmp_path / "half.safetensors")
    loaded = official_state_dict(fresh)[CLASS_LAYER]
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, half[CLASS_LAYER].float())


def test_weights_are_cast_to_the_precision_of_the_model(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "w.pth")
    model = build_model("rmpsam_r18").double()
    load_checkpoint(model, tmp_path / "w.pth")
    assert model.object_queries.dtype == torch.float64


class HistoryBuffer:
    """Stands for the objects that training tools put beside the weights."""

    def __init__(self) -> None:
        self.values = np.arange(3.0)


def test_training_checkpoint_with_foreign_objects(
    fresh: RmpSam, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    checkpoint = {
        "meta": {"epoch": 12, "path": Path("somewhere"), "seed": np.float64(1.5)},
        "message_hub": {"log_scalars": OrderedDict(loss=HistoryBuffer())},
        "optimizer": {"state": {0: {"step": torch.tensor(1)}}},
        "state_dict": OrderedDict(weights),
    }
    torch.save(checkpoint, tmp_path / "epoch_12.pth")
    load_checkpoint(fresh, tmp_path / "epoch_12.pth")
    assert_loaded(fresh, weights)


class Evil:
    """Runs a command when unpickled without restrictions."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


class EvilBuiltin(Evil):
    def __reduce__(self):
        return (eval, (f"__import__('os').mkdir({str(self.mark)!r})",))


@pytest.mark.parametrize("attack", [Evil, EvilBuiltin])
def test_code_in_a_checkpoint_is_not_run(
    attack: type[Evil], fresh: RmpSam, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    torch.save({"meta": attack(mark), "state_dict": weights}, tmp_path / "evil.pth")
    try:
        load_checkpoint(fresh, tmp_path / "evil.pth")
    except CheckpointError:
        pass
    assert not mark.exists()


def test_renamed_class_layer_is_found(
    fresh: RmpSam, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """A plain dict that went through the official stack carries another name."""
    renamed = {k.replace("panoptic_cls", "conv_cls"): v for k, v in weights.items()}
    assert CLASS_LAYER not in renamed
    torch.save(renamed, tmp_path / "w.pth")
    load_checkpoint(fresh, tmp_path / "w.pth")
    assert_loaded(fresh, weights)


def test_constants_beside_the_weights_are_ignored(
    fresh: RmpSam, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    extra = {
        "data_preprocessor.mean": torch.zeros(3, 1, 1),
        "panoptic_head.mask_heads.0.fc_cls": torch.zeros(768, 41, 1),
        "panoptic_head.mask_heads.0.logit_scale": torch.tensor(4.6052),
    }
    torch.save({f"module.{k}": v for k, v in (weights | extra).items()}, tmp_path / "w.pth")
    load_checkpoint(fresh, tmp_path / "w.pth")
    assert torch.equal(official_state_dict(fresh)[CLASS_LAYER], weights[CLASS_LAYER])


def broken(weights: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    changed = dict(weights)
    if how == "missing":
        del changed[CLASS_LAYER]
    elif how == "unexpected":
        changed["backbone.layer9.weight"] = torch.zeros(1)
    elif how == "wrong shape":
        changed[CLASS_LAYER] = torch.zeros(1024, 256)
    elif how == "not finite":
        changed[CLASS_LAYER] = torch.full((768, 256), torch.nan)
    return changed


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"missing \(1\): panoptic_head\.panoptic_cls\.0\.weight"),
        ("unexpected", r"unexpected \(1\): backbone\.layer9\.weight"),
        ("wrong shape", r"wrong shape \(1\): .*\[1024, 256\] instead of \[768, 256\]"),
        ("not finite", r"not finite \(1\): panoptic_head"),
    ],
)
def test_misfits_are_named_and_nothing_is_changed(
    how: str, message: str, fresh: RmpSam, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    torch.save(broken(weights, how), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(fresh, tmp_path / "w.pth")
    for key, value in fresh.state_dict().items():
        assert torch.equal(value, before[key])


def test_other_backbone_is_explained(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="right backbone"):
        load_checkpoint(build_model("rmpsam_r50"), tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pth", None, "no checkpoint file"),
        ("text.pth", b"not a checkpoint", "cannot be read"),
        ("empty.pth", b"", "cannot be read"),
        ("text.safetensors", b"not a checkpoint", "not a readable safetensors"),
        ("pickle.pth", b"\x80\x02cos\nsystem\n(S'true'\ntR.", "cannot be read"),
    ],
)
def test_unreadable_files(
    name: str, content: bytes | None, message: str, fresh: RmpSam, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(fresh, tmp_path / name)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"state_dict": {"a": 1}}, {"epoch": 3}, torch.zeros(3)]
)
def test_files_without_weights(content: object, fresh: RmpSam, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        load_checkpoint(fresh, tmp_path / "w.pth")
