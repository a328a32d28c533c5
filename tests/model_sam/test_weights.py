"""The weights of MobileSAM that come with the package."""

from __future__ import annotations

import functools
import hashlib

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from sam_reference import WEIGHTS

from rmpsam_ros.model.sam import PromptModel, transforms

SHA256 = "2e292a090341ceed8f5d34a4859d68110c7446d2ba1ada2fe63a9b29737eb9cb"


def test_file_is_the_converted_one() -> None:
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == SHA256
    with safe_open(WEIGHTS, "pt") as file:
        assert len(file.keys()) == 439


def test_licence_and_card_lie_beside_it() -> None:
    licence = WEIGHTS.with_name("mobile_sam.LICENSE.txt").read_text()
    assert "Apache License" in licence and "Version 2.0" in licence
    card = WEIGHTS.with_name("mobile_sam.md").read_text()
    assert SHA256 in card and "Apache-2.0" in card and "MobileSAM" in card


@functools.lru_cache(maxsize=1)
def scene() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A plain picture with an ellipse and a box on it, and their masks."""
    picture = np.full((360, 480, 3), (70, 110, 80), np.uint8)
    masks = {name: np.zeros(picture.shape[:2], np.uint8) for name in ("ellipse", "box")}
    cv2.ellipse(masks["ellipse"], (150, 180), (80, 50), 20, 0, 360, 1, -1)
    cv2.rectangle(masks["box"], (300, 90), (430, 270), 1, -1)
    picture[masks["ellipse"] > 0] = (210, 60, 40)
    picture[masks["box"] > 0] = (40, 70, 200)
    noise = np.random.default_rng(0).integers(-8, 9, picture.shape)
    picture = (picture + noise).clip(0, 255).astype(np.uint8)
    return picture, {name: mask > 0 for name, mask in masks.items()}


@pytest.fixture(scope="module")
def answer(mobile_sam: PromptModel):
    """Answers a prompt in pixels of the scene with its best mask."""
    frame, geometry = transforms.preprocess(scene()[0])
    with torch.inference_mode():
        embedding = mobile_sam.encode(frame)

    def answer(points=None, labels=None, box=None, multimask=False) -> np.ndarray:
        if points is not None:
            points = transforms.points_to_frame(np.array([points], float), geometry)
            labels = torch.tensor([labels])
        if box is not None:
            box = transforms.boxes_to_frame(np.array([box], float), geometry)
        with torch.inference_mode():
            logits, iou = mobile_sam.decode(embedding, points, labels, box, multimask=multimask)
        return transforms.masks_to_picture(logits, geometry)[0, int(iou[0].argmax())]

    return answer


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("ellipse", {"points": [(150, 180)], "labels": [1], "multimask": True}),
        ("ellipse", {"points": [(150, 180), (360, 180)], "labels": [1, 0]}),
        ("ellipse", {"box": (70, 120, 230, 240)}),
        ("box", {"points": [(360, 180)], "labels": [1], "multimask": True}),
        ("box", {"box": (298, 88, 432, 272)}),
        ("box", {"points": [(360, 180)], "labels": [1], "box": (298, 88, 432, 272)}),
    ],
)
def test_a_prompt_finds_its_object(answer, name: str, prompt: dict) -> None:
    assert overlap(answer(**prompt), scene()[1][name]) > 0.95
