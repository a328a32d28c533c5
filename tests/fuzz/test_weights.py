"""Files with weights that were damaged: read, or refused with CheckpointError; no code runs."""

import io

import pytest

pytest.importorskip("hypothesis", reason="requirements/test-fuzz.txt")

import torch
from hypothesis import given
from hypothesis import strategies as some
from safetensors.torch import save

from rmpsam_ros.model.checkpoint import CheckpointError, read_metadata, read_state_dict
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.runtime.network import read_text_embeddings

WEIGHTS = {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.zeros(3)}


def saved(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


SEEDS = {
    "zip.pth": saved(WEIGHTS),
    "checkpoint.pth": saved({"state_dict": WEIGHTS, "epoch": 3}),
    "legacy.pth": saved(WEIGHTS, _use_new_zipfile_serialization=False),
    "some.safetensors": save(WEIGHTS, {"model": "rmpsam_r18"}),
}


@some.composite
def damaged(draw):
    """A file with bytes changed, cut out or put in."""
    name = draw(some.sampled_from(sorted(SEEDS)))
    data = bytearray(SEEDS[name])
    for _ in range(draw(some.integers(0, 5))):
        place = draw(some.integers(0, max(0, len(data) - 1)))
        change = draw(some.sampled_from(("flip", "cut", "put")))
        if change == "flip" and data:
            data[place] = draw(some.integers(0, 255))
        elif change == "cut":
            del data[place : place + draw(some.integers(1, 50))]
        else:
            data[place:place] = draw(some.binary(max_size=20))
    return name, bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@given(damaged())
def test_damaged_files(folder, file):
    name, data = file
    path = folder / name
    path.write_bytes(data)
    try:
        state = read_state_dict(path)
    except CheckpointError as error:
        assert name in str(error) and "weights_only=False" not in str(error)
    else:
        for value in state.values():
            assert isinstance(value, torch.Tensor)
            value.float().sum()  # every value can be read
    try:
        read_metadata(path)
    except CheckpointError as error:
        assert name in str(error)
    with pytest.raises(EngineError):
        read_text_embeddings(path)
