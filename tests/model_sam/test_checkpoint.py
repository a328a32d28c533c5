"""Weights from official files and from our own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sam_random_weights import make_tensor
from sam_reference import WEIGHTS, Reference

from rmpsam_ros.model.sam import (
    CheckpointError,
    PromptModel,
    build_prompt_model,
    load_prompt_model,
    save_weights,
)
from rmpsam_ros.model.sam.checkpoint import load_weights, rename_official_keys

INPUT = torch.linspace(-1, 1, 3 * 32 * 48).reshape(1, 3, 32, 48)


def official_state(name: str, reference: Reference) -> dict[str, torch.Tensor]:
    """An official checkpoint as it would be: original keys, every tensor different."""
    shapes = reference.shapes(name)
    return {key: torch.from_numpy(make_tensor(key, shape)) for key, shape in shapes.items()}


def encoded(model: PromptModel) -> torch.Tensor:
    with torch.inference_mode():
        out = model.image_encoder(INPUT)
    return out if isinstance(out, torch.Tensor) else out[0]


def test_official_pytorch_file_of_mobile_sam(reference: Reference, tmp_path: Path) -> None:
    state = official_state("mobile_sam", reference)
    torch.save(state, tmp_path / "mobile_sam.pt")
    model = load_prompt_model("mobile_sam", tmp_path / "mobile_sam.pt")
    plain = build_prompt_model("mobile_sam")
    load_weights(plain, state, "state")
    assert not model.training
    torch.testing.assert_close(encoded(model), encoded(plain), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_repvit_file_as_trained_and_folded(reference: Reference, tmp_path: Path) -> None:
    torch.save(official_state("repvit_sam", reference), tmp_path / "repvit_sam.pt")
    model = load_prompt_model("repvit_sam", tmp_path / "repvit_sam.pt")
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in model.modules())
    assert sum(p.numel() for p in model.image_encoder.parameters()) == 23_040_480
    save_weights(model, tmp_path / "folded.safetensors", torch.float32)
    again = load_prompt_model("repvit_sam", tmp_path / "folded.safetensors")
    assert torch.equal(encoded(again), encoded(model))


@pytest.mark.slow
def test_official_training_checkpoint_of_rwkv_sam(reference: Reference, tmp_path: Path) -> None:
    state = official_state("rwkv_sam_s", reference)
    torch.save({"state_dict": state, "meta": {"epoch": 6}}, tmp_path / "epoch_6.pth")
    model = load_prompt_model("rwkv_sam_s", tmp_path / "epoch_6.pth")
    loaded = model.state_dict()
    for key, value in rename_official_keys(state).items():
        assert torch.equal(loaded[key], value), key


def test_own_keys_are_not_renamed() -> None:
    """A decoder of RWKV-SAM has parts called as the official wrapper, one level deeper."""
    for name in ("mobile_sam", "rwkv_sam_t"):
        own = dict.fromkeys(build_prompt_model(name).state_dict(), torch.zeros(()))
        assert list(rename_official_keys(own)) == list(own)


def test_weights_survive_a_file_in_half_precision(rwkv_sam: PromptModel, tmp_path: Path) -> None:
    save_weights(rwkv_sam, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    again = load_prompt_model("rwkv_sam_t", tmp_path / "w.safetensors")
    for key, value in again.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, rwkv_sam.state_dict()[key].half().float()), key


def test_every_key_that_does_not_fit_is_reported(tmp_path: Path) -> None:
    state = load_file(WEIGHTS)
    for key in ("mask_decoder.iou_token.weight", "image_encoder.neck.0.weight"):
        del state[key]
    state["extra.weight"] = torch.zeros(1)
    state["mask_decoder.mask_tokens.weight"] = torch.zeros(5, 256)
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_prompt_model("mobile_sam", tmp_path / "broken.safetensors")
    message = str(caught.value)
    assert "broken.safetensors does not fit" in message
    assert "2 missing: " in message
    assert "mask_decoder.iou_token.weight" in message and "image_encoder.neck.0.weight" in message
    assert "1 unexpected: extra.weight" in message
    assert "mask_decoder.mask_tokens.weight [5, 256] instead of [4, 256]" in message


def test_what_is_not_finite_is_reported(tmp_path: Path) -> None:
    state = load_file(WEIGHTS)
    state["prompt_encoder.no_mask_embed.weight"][0, 0] = float("nan")
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(CheckpointError, match="1 not finite: prompt_encoder"):
        load_prompt_model("mobile_sam", tmp_path / "broken.safetensors")


def test_nothing_is_copied_from_a_file_that_does_not_fit(rwkv_sam: PromptModel) -> None:
    before = {key: value.clone() for key, value in rwkv_sam.state_dict().items()}
    state = {key: value + 1 for key, value in before.items()}
    del state["prompt_encoder.no_mask_embed.weight"]
    with pytest.raises(CheckpointError):
        load_weights(rwkv_sam, state, "state")
    assert all(torch.equal(rwkv_sam.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize("name", ["repvit_sam", "rwkv_sam_t"])
def test_weights_of_another_model_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"missing.*\n.*unexpected"):
        load_prompt_model(name, WEIGHTS)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt"):
        load_prompt_model("mobile_sam", tmp_path / "nowhere.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_file_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match=name):
        load_prompt_model("mobile_sam", tmp_path / name)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"image_encoder.neck.0.weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointError):
        load_prompt_model("mobile_sam", tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()
