"""Prompted objects through time: one click in the first frame, J and F over the rest (DAVIS)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.base import read_image
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.evaluation.interactive import click_position
from rmpsam_ros.evaluation.predictors import Prompter
from rmpsam_ros.evaluation.tasks import tight_box
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
    """Yield picture and mask [H, W] of every annotated frame of a sequence, in order."""
    for path in sorted((root / "Annotations" / sequence).glob("*.png")):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise DataError(f"'{path}' is not a picture")
        image = read_image(root / "JPEGImages" / sequence / f"{path.stem}.jpg")
        if mask.shape != image.shape[:2]:
            raise DataError(f"'{path}' has another size than its picture")
        yield image, mask > 127


def follow(
    prompter: Prompter, frames: Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]
) -> tuple[float, float]:
    """Return mean J and F of one object that is clicked in the first frame.

    From then on the prompt of every frame is the box of the mask before; once lost, an object
    stays lost. The first and the last frame do not count, as in DAVIS.
    """
    regions: list[float] = []
    contours: list[float] = []
    previous: NDArray[np.bool_] | None = None
    for index, (image, truth) in enumerate(frames):
        if index == 0:
            prompter.show(image)
            previous = prompter.click(np.array([click_position(truth)], np.float64))[0]
            continue
        assert previous is not None
        if previous.any():
            prompter.show(image)
            previous = prompter.box(np.array([tight_box(previous)], np.float64))[0]
        regions.append(region_similarity(previous, truth))
        contours.append(contour_accuracy(previous, truth))
    return float(np.mean(regions[:-1])), float(np.mean(contours[:-1]))


def evaluate_davis(prompter: Prompter, root: Path, sequences: Sequence[str]) -> dict[str, Any]:
    """Return J, F and their mean over sequences, and the mean of each sequence."""
    scores = {name: follow(prompter, davis_frames(root, name)) for name in sequences}
    region = float(np.mean([score[0] for score in scores.values()]))
    accuracy = float(np.mean([score[1] for score in scores.values()]))
    return {
        "j": region,
        "f": accuracy,
        "j_and_f": (region + accuracy) / 2,
        "per_sequence": {name: sum(score) / 2 for name, score in scores.items()},
    }
