"""Checkpoint files that would run code, or become much larger in memory than they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from rmpsam_ros.model.checkpoint import (
    CheckpointError,
    load_official_state_dict,
    official_state_dict,
    read_state_dict,
)
from rmpsam_ros.model.configs import build_model
from rmpsam_ros.model.safe_pickle import UnsafeFileError, read_pickle
from rmpsam_ros.model.sam.checkpoint import load_weights
from rmpsam_ros.runtime import EngineConfig, EngineError
from rmpsam_ros.runtime.network import load_network, read_text_embeddings
from rmpsam_ros.training.state import ResumeError, load_state

WEIGHTS = {"layer.weight": torch.arange(12.0).reshape(3, 4)}


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    torch.save(WEIGHTS, tmp_path / "some.pth")
    return tmp_path / "some.pth"


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("2.1.0", False),
        ("2.5.1+cu121", False),
        ("2.9.1", False),
        ("2.10.0", True),
        ("2.13.0+cpu", True),
        ("3.0.0a0+git1234567", True),
    ],
)
def test_only_a_pytorch_that_reads_it_safely_does(version, safe, pth, monkeypatch):
    monkeypatch.setattr(torch, "__version__", version)
    if safe:
        assert torch.equal(read_pickle(pth)["layer.weight"], WEIGHTS["layer.weight"])
        return
    with pytest.raises(UnsafeFileError, match=r"CVE-2025-32434.*safetensors.*PyTorch 2.10"):
        read_pickle(pth)


def test_everything_that_reads_such_files_asks_for_it(pth, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.0")
    with pytest.raises(CheckpointError, match="CVE"):
        read_state_dict(pth)
    with pytest.raises(EngineError, match="CVE"):
        read_text_embeddings(pth)
    with pytest.raises(ResumeError, match="CVE"):
        load_state(pth, torch.nn.Linear(1, 1), None, None)


def swollen() -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.zeros(1).expand(40_000, 20_000)}


def deflated(path: Path) -> None:
    """The same archive, compressed: zeros become nothing."""
    torch.save({"layer.weight": torch.zeros(1_000_000)}, path.with_suffix(".plain"))
    with (
        zipfile.ZipFile(path.with_suffix(".plain")) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: torch.save(swollen(), path), r"shape \[40000, 20000\] made of 4 bytes"),
        (lambda path: torch.save({"state_dict": swollen()}, path), "made of 4 bytes"),
        (lambda path: torch.save([[(swollen(),)]], path), "made of 4 bytes"),
        (deflated, "is compressed: its .* bytes become"),
        (lambda path: torch.save({"a": torch.eye(3).to_sparse()}, path), "torch.sparse_coo"),
    ],
)
def test_what_would_grow_in_memory_is_refused(write, reason, tmp_path):
    write(tmp_path / "bomb.pth")
    with pytest.raises(UnsafeFileError, match=reason):
        read_pickle(tmp_path / "bomb.pth", foreign=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"e", b"notes: 101", b"just a line of text\n", b"\x80\x02}q\x00.", b"PK\x03\x04" * 9],
)
def test_what_is_no_checkpoint_is_one_line_without_bad_advice(content, tmp_path):
    (tmp_path / "notes.pth").write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_state_dict(tmp_path / "notes.pth")
    text = str(error.value)
    assert "notes.pth" in text
    assert "\n" not in text and "weights_only" not in text and len(text) < 600


def test_an_archive_of_another_kind_is_one_line(pth):
    """Found by tests/fuzz: Python's reader of archives has errors of several kinds."""
    data = bytearray(pth.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 64  # version 6.4, which nobody has
    pth.write_bytes(data)
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        read_state_dict(pth)


@pytest.mark.parametrize("load", ["rmpsam", "sam"])
def test_values_of_a_wrong_shape_are_not_looked_at(load, monkeypatch):
    """Looking at all of a huge tensor takes as much memory as it claims to have."""

    def look(*_):
        raise AssertionError("looked at")

    model = build_model("rmpsam_r18")
    state = official_state_dict(model) if load == "rmpsam" else dict(model.state_dict())
    state[next(iter(state))] = torch.zeros(1).expand(70_000, 70_000)
    monkeypatch.setattr(torch, "isfinite", look)
    monkeypatch.setattr(torch.Tensor, "isfinite", look)
    with pytest.raises(CheckpointError, match="shape"):
        (load_official_state_dict if load == "rmpsam" else load_weights)(model, state, "a file")


def test_a_class_table_that_promises_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, np.zeros((2, 1, 768), np.float32))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(2, 1, 768)", b"(99999999, 99, 768)", 1))
    with pytest.raises(EngineError, match="cannot be read"):
        read_text_embeddings(path)


def test_a_class_table_of_a_senseless_size_is_refused_before_it_is_converted(tmp_path):
    from numpy.lib.format import open_memmap

    table = open_memmap(tmp_path / "table.npy", "w+", np.float16, (2000, 70, 768))
    table.flush()
    with pytest.raises(EngineError, match="expected at most"):
        read_text_embeddings(tmp_path / "table.npy")


@pytest.mark.parametrize("name", ["nowhere.pth", "nowhere.safetensors"])
def test_a_file_that_is_not_there_is_said_before_all_else(name):
    with pytest.raises(EngineError, match=f"weights '/{name}' does not exist"):
        load_network(EngineConfig(model="rmpsam_r18", weights=f"/{name}"), 133, print)
