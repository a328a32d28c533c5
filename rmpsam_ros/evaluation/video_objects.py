"""Prompted objects through time: one click in the first frame, J and F over the rest (DAVIS)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.base import read_image, read_pixels
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.evaluation.interactive import click_position
from rmpsam_ros.evaluation.predictors import Promptable
from rmpsam_ros.evaluation.video import contour_accuracy, region_similarity


def davis_sequences(root: Path) -> list[str]:
    """Return the names of the sequences below ``JPEGImages``."""
    folder = root / "JPEGImages"
    if not folder.is_dir():
        raise DataError(f"'{folder}' is not a folder; expected a DAVIS data set in '{root}'")
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def davis_frames(
    root: Path, sequence: str
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield image and mask [H, W] of every annotated frame of a sequence, in order."""
    for path in sorted((root / "Annotations" / sequence).glob("*.png")):
        mask = read_pixels(path, cv2.IMREAD_GRAYSCALE, "annotations")
        image = read_image(root / "JPEGImages" / sequence / f"{path.stem}.jpg")
        if mask.shape != image.shape[:2]:
            raise DataError(f"'{path}' has another size than its image")
        yield image, mask > 127


def score_sequence(
    follower: Promptable, frames: Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]
) -> tuple[float, float]:
    """Return mean J and F of one object that is clicked in the first frame.

    The first and the last frame do not count, as in DAVIS.
    """
    first = next(frames)
    shown, annotated = itertools.tee(itertools.chain([first], frames))
    masks = follower.follow((image for image, _ in shown), click_position(first[1]))
    scores = [
        (region_similarity(mask, truth), contour_accuracy(mask, truth))
        for mask, (_, truth) in zip(masks, annotated, strict=True)
    ]
    region, accuracy = np.mean(scores[1:-1], axis=0).tolist()
    return region, accuracy


def evaluate_davis(follower: Promptable, root: Path, sequences: Sequence[str]) -> dict[str, Any]:
    """Return J, F and their mean over sequences, and the mean of each sequence."""
    scores = {name: score_sequence(follower, davis_frames(root, name)) for name in sequences}
    region = float(np.mean([score[0] for score in scores.values()]))
    accuracy = float(np.mean([score[1] for score in scores.values()]))
    return {
        "j": region,
        "f": accuracy,
        "j_and_f": (region + accuracy) / 2,
        "per_sequence": {name: sum(score) / 2 for name, score in scores.items()},
    }
