"""Images of what the network predicts, while it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rmpsam_ros.data import ClipSet
from rmpsam_ros.model import RmpSam
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.overlay import draw_overlay
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import preprocess
from rmpsam_ros.segmentation.results import PanopticResult
from rmpsam_ros.training.batches import Source
from rmpsam_ros.training.distributed import Process

_FUSION = FusionConfig(0.3, 0.5)
_IMAGES_PER_SOURCE = 2


def make_preview(
    sources: list[Source],
    label_set: LabelSet,
    folder: Path,
    limits: tuple[int, int],
    process: Process,
) -> Callable[[RmpSam, int], None]:
    """Return a function that writes ``preview_<step>.jpg`` into ``folder``.

    One row per data set of images; every row shows its first images with the panoptic
    prediction drawn over them. Low scores are shown too: a young network has no others.
    """
    images = [
        source.data.load(index).image
        for source in sources
        if not isinstance(source.data, ClipSet)
        for index in range(min(_IMAGES_PER_SOURCE, len(source.data)))
    ]

    def preview(network: RmpSam, step: int) -> None:
        network.eval()
        tiles = []
        for image in images:
            result = _segment(network, image, label_set, limits, process.device)
            overlay = draw_overlay(image, result, label_set)
            tiles.append(cv2.resize(overlay, (480, 360), interpolation=cv2.INTER_AREA))
        rows = [
            np.hstack(tiles[start : start + _IMAGES_PER_SOURCE])
            for start in range(0, len(tiles) - 1, _IMAGES_PER_SOURCE)
        ]
        cv2.imwrite(str(folder / f"preview_{step:07d}.jpg"), np.vstack(rows)[:, :, ::-1])

    return preview


@torch.inference_mode()
def _segment(
    network: RmpSam,
    image: NDArray[np.uint8],
    label_set: LabelSet,
    limits: tuple[int, int],
    device: torch.device,
) -> PanopticResult:
    """Return the panoptic segmentation of an RGB image [H, W, 3]."""
    planes, letterbox = preprocess(image, limits)
    output = network.decode_objects(network.features(torch.from_numpy(planes).to(device)))
    class_logits, mask_logits = (
        logits[0].float().cpu().numpy() for logits in (output.class_logits, output.mask_logits)
    )
    return fuse_panoptic(class_logits, mask_logits, letterbox, label_set, _FUSION)
