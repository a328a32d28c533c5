"""Pre- and post-processing on the GPU: only pixels in bytes and label maps cross the bus.

Results equal those of `rmpsam_ros.segmentation` up to single pixels, where two queries are equal
but for rounding. The functions run on every device of PyTorch.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import (
    FusionConfig,
    SegmentBuilder,
    candidates,
    finished,
    things_among,
)
from rmpsam_ros.segmentation.preprocess import MEAN, STD, Letterbox, fit
from rmpsam_ros.segmentation.results import PanopticResult
from rmpsam_ros.segmentation.tidying import Overlaps, cells_of_image, competitors

CHUNK = 8  # queries whose masks are upsampled together: bounds the memory


def preprocess_on_device(
    image: NDArray[np.uint8], limits: tuple[int, int], channel_order: str, device: torch.device
) -> tuple[torch.Tensor, Letterbox]:
    """Do what `segmentation.preprocess` does, but for the resize: (1, 3, h, w) float32.

    The resize stays on the CPU: its fixed-point arithmetic is part of the result. Arguments and
    errors are those of `segmentation.preprocess`, which checks them.
    """
    geometry = fit((image.shape[0], image.shape[1]), limits)
    height, width = geometry.resized_size
    image = np.ascontiguousarray(image)
    if geometry.resized_size != geometry.image_size:
        image = np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
        )
    pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)
    if channel_order == "bgr":
        pixels = pixels.flip(0)
    mean, std = (torch.from_numpy(values).to(device).view(3, 1, 1) for values in (MEAN, STD))
    padded = torch.zeros((1, 3, *geometry.padded_size), device=device)
    padded[0, :, :height, :width] = (pixels.float() - mean) / std
    return padded, geometry


@torch.inference_mode()
def fuse_on_device(
    class_logits: torch.Tensor,
    mask_logits: torch.Tensor,
    geometry: Letterbox,
    label_set: LabelSet,
    config: FusionConfig,
) -> PanopticResult:
    """Do what `segmentation.fuse_panoptic` does, on the device of its arguments.

    Args:
        class_logits: (N, C + 1) float32; mask_logits: (N, h, w) float32.
    """
    all_classes, all_scores, chosen = candidates(class_logits.cpu().numpy(), label_set, config)
    chosen, strength = competitors(
        chosen,
        all_scores,
        things_among(all_classes, label_set),
        lambda some: _overlaps_of(mask_logits, some, geometry),
        config.tidy,
    )
    queries, class_ids, scores, strengths = (
        torch.from_numpy(values).to(mask_logits.device)
        for values in (chosen.astype(np.int64), all_classes, all_scores, strength)
    )
    while len(queries):
        fusion = _Fusion(mask_logits[queries], strengths, geometry)
        if bool(fusion.finite.all()):
            break
        queries, strengths = queries[fusion.finite], strengths[fusion.finite]
    if not len(queries):
        return PanopticResult(np.zeros(geometry.image_size, np.uint16), ())
    won = fusion.winner_counts(sure_only=False)
    kept = fusion.winner_counts(sure_only=True) if config.filter_low_score else won
    boxes = fusion.boxes(config.filter_low_score)
    builder = SegmentBuilder(label_set)
    table = np.zeros(len(queries), np.int16)
    rows = zip(
        *(
            values.tolist()
            for values in (
                queries, class_ids[queries], scores[queries], won, kept, fusion.claimed, boxes
            )
        ),
        strict=True,
    )  # fmt: skip
    for place, (query, class_id, score, area, kept_area, claimed, box) in enumerate(rows):
        if area == 0 or claimed == 0 or area / claimed < config.overlap_threshold:
            continue
        if kept_area == 0:
            continue
        table[place] = builder.add(class_id, score, kept_area, tuple(box), query)
    id_map = fusion.id_map(torch.from_numpy(table), config.filter_low_score)
    return finished(PanopticResult(id_map, tuple(builder.segments)), config)


def _overlaps_of(
    mask_logits: torch.Tensor, queries: NDArray[np.int32], geometry: Letterbox
) -> Overlaps:
    """Do what `segmentation.tidying.overlaps_of` does, on the device of the masks."""
    height, width = cells_of_image(geometry, (mask_logits.shape[1], mask_logits.shape[2]))
    index = torch.from_numpy(queries).long().to(mask_logits.device)
    cells = mask_logits[index, :height, :width].flatten(1)
    masks = (cells > 0).float()  # sums below 2^24 are exact
    shared = (masks @ masks.T).round().long().cpu().numpy()
    return Overlaps(shared, cells.isfinite().all(dim=1).cpu().numpy(), height * width)


class _Fusion:
    """Which of K queries wins every pixel of the image, and by a sure mask or not.

    Attributes:
        finite: (K,) bool, whether all mask logits inside the image are finite.
        claimed: (K,) int64, pixels with a mask probability of at least a half.
    """

    def __init__(self, masks: torch.Tensor, scores: torch.Tensor, geometry: Letterbox) -> None:
        size = geometry.image_size
        best = torch.full(size, -1.0, device=masks.device)
        self._winner = torch.zeros(size, dtype=torch.int64, device=masks.device)
        self._sure = torch.zeros(size, dtype=torch.bool, device=masks.device)
        finite, claimed = [], []
        for start in range(0, len(masks), CHUNK):
            logits = _at_image_size(masks[start : start + CHUNK], geometry)
            finite.append(logits.isfinite().all(dim=2).all(dim=1))
            probability = logits.sigmoid()
            sure = probability >= 0.5
            claimed.append(sure.sum(dim=(1, 2)))
            weighted = scores[start : start + CHUNK, None, None] * probability
            winner = weighted.argmax(dim=0)  # the first of equals, as between the chunks
            value = weighted.gather(0, winner[None])[0]
            better = value > best
            best = torch.where(better, value, best)
            self._winner = torch.where(better, winner + start, self._winner)
            self._sure = torch.where(better, sure.gather(0, winner[None])[0], self._sure)
        self.finite, self.claimed = torch.cat(finite), torch.cat(claimed)

    def winner_counts(self, sure_only: bool) -> torch.Tensor:
        """Pixels that every query won, (K,) int64."""
        winner = self._winner[self._sure] if sure_only else self._winner.flatten()
        return torch.bincount(winner, minlength=len(self.claimed))

    def boxes(self, sure_only: bool) -> torch.Tensor:
        """Tight boxes of what every query won, (K, 4) int64; meaningless where it won nothing."""
        rows, columns = torch.where(self._sure | (not sure_only))
        winner = self._winner[rows, columns]
        limit = max(self._winner.shape)
        low, high = (
            torch.full((len(self.claimed), 2), value, device=winner.device)
            for value in (limit, -1)
        )
        places = torch.stack((columns, rows), dim=1)
        index = winner[:, None].expand(-1, 2)
        low = low.scatter_reduce(0, index, places, "amin")
        high = high.scatter_reduce(0, index, places, "amax")
        return torch.cat((low, high + 1), dim=1)

    def id_map(self, table: torch.Tensor, sure_only: bool) -> NDArray[np.uint16]:
        """Segment ids of all pixels, (H, W), by the ids of the queries (K,) int16."""
        ids = table.to(self._winner.device)[self._winner]
        if sure_only:
            ids = torch.where(self._sure, ids, torch.zeros_like(ids))
        return ids.cpu().numpy().view(np.uint16)


def _at_image_size(masks: torch.Tensor, geometry: Letterbox) -> torch.Tensor:
    """Resize mask logits to the padded input, crop the padding, resize to the image."""
    x = F.interpolate(masks[None], geometry.padded_size, mode="bilinear", align_corners=False)
    height, width = geometry.resized_size
    x = x[..., :height, :width]
    return F.interpolate(x, geometry.image_size, mode="bilinear", align_corners=False)[0]
