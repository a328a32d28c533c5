"""Pictures of what the network predicts, while it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from rmpsam_ros.data import ClipSet
from rmpsam_ros.evaluation.predictors import NetworkPredictor
from rmpsam_ros.model import RmpSam
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.overlay import draw_overlay
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.training.batches import Source
from rmpsam_ros.training.distributed import Process

_SCORE = 0.3
_PICTURES_PER_SOURCE = 2


def make_preview(
    sources: list[Source],
    label_set: LabelSet,
    folder: Path,
    limits: tuple[int, int],
    process: Process,
) -> Callable[[RmpSam, int], None]:
    """Return a function that writes ``preview_<step>.jpg`` into ``folder``.

    One row per data set of pictures; every row shows its first pictures with the panoptic
    prediction drawn over them. Low scores are shown too: a young network has no others.
    """
    images = [
        source.data.load(index).image
        for source in sources
        if not isinstance(source.data, ClipSet)
        for index in range(min(_PICTURES_PER_SOURCE, len(source.data)))
    ]

    def preview(network: RmpSam, step: int) -> None:
        predictor = NetworkPredictor(network, label_set, limits, process.device)
        tiles = []
        for image in images:
            predictor.show(image)
            result = predictor.panoptic(predictor.objects(), FusionConfig(_SCORE, 0.5))
            overlay = draw_overlay(image, result, label_set)
            tiles.append(cv2.resize(overlay, (480, 360), interpolation=cv2.INTER_AREA))
        rows = [
            np.hstack(tiles[start : start + _PICTURES_PER_SOURCE])
            for start in range(0, len(tiles) - 1, _PICTURES_PER_SOURCE)
        ]
        cv2.imwrite(str(folder / f"preview_{step:07d}.jpg"), np.vstack(rows)[:, :, ::-1])

    return preview
