"""Masks by a promptable teacher where only boxes, or nothing, is annotated.

The result is a COCO instances file, which any training configuration can name as a data set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from rmpsam_ros.data.base import read_image
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.model.sam import PromptModel
from rmpsam_ros.model.sam.prompt_model import ImageEmbedding
from rmpsam_ros.model.sam.transforms import (
    SamFrame,
    boxes_to_frame,
    masks_to_picture,
    points_to_frame,
    preprocess,
)
from rmpsam_ros.segmentation.coco_run_length import encode_coco
from rmpsam_ros.segmentation.overlap import box_ious, mask_iou

MASK_CATEGORY = "mask"
"""Category of masks that come from a grid of points and have no name."""


@dataclass(frozen=True)
class DistillConfig:
    """What of the teacher's answers is kept.

    Attributes:
        grid: points per side of the grid that looks for unnamed masks; 0: none.
        minimum_iou: the teacher's own estimate.
        minimum_share, maximum_share: area of an unnamed mask as a share of the image.
        duplicate_iou: masks more alike than this are one.
    """

    grid: int = 0
    minimum_iou: float = 0.88
    minimum_share: float = 0.005
    maximum_share: float = 0.6
    duplicate_iou: float = 0.5
    minimum_box_iou: float = 0.6


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A box in pixels (x1, y1, x2, y2) and the class of what is in it."""

    name: str
    box: tuple[float, float, float, float]


def read_voc_boxes(path: Path) -> list[NamedBox]:
    """Return the objects of a Pascal VOC annotation file; parts of objects are left out."""
    try:
        root = ElementTree.parse(path).getroot()
        return [
            NamedBox(_text(node, "name"), _box(node.find("bndbox")))
            for node in root.findall("object")
        ]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"'{path}' is not a Pascal VOC annotation: {error}") from error


@torch.inference_mode()
def teach(
    teacher: PromptModel,
    image: NDArray[np.uint8],
    boxes: list[NamedBox],
    config: DistillConfig,
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return (category, mask [H, W]) of every box the teacher is sure of, then unnamed masks."""
    frame, placed = preprocess(image)
    embedding = teacher.encode(frame)
    found: list[tuple[str, NDArray[np.bool_]]] = []
    if boxes:
        corners = np.array([entry.box for entry in boxes], np.float64)
        logits, _ = teacher.decode(embedding, None, None, boxes_to_frame(corners, placed))
        masks = masks_to_picture(logits, placed)[:, 0]
        found = [
            (entry.name, mask)
            for entry, mask in zip(boxes, masks, strict=True)
            if _box_iou(mask, entry.box) >= config.minimum_box_iou
        ]
    if config.grid:
        taken = [mask for _, mask in found]
        for mask in _grid_masks(teacher, embedding, placed, config):
            if all(mask_iou(mask, other) < config.duplicate_iou for other in taken):
                taken.append(mask)
                found.append((MASK_CATEGORY, mask))
    return found


def distill(
    teacher: PromptModel,
    images: list[Path],
    annotations: Path | None,
    output: Path,
    config: DistillConfig,
) -> int:
    """Write a COCO instances file with the teacher's masks of all images; returns their number.

    Args:
        annotations: folder of Pascal VOC XML files with boxes, or None to look for unnamed masks
            only.
    """
    entries: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    categories = {MASK_CATEGORY: 1}
    for number, path in enumerate(tqdm(images, unit="image"), 1):
        image = read_image(path)
        boxes = read_voc_boxes(annotations / f"{path.stem}.xml") if annotations else []
        height, width = image.shape[:2]
        entries.append({"id": number, "file_name": path.name, "height": height, "width": width})
        for name, mask in teach(teacher, image, boxes, config):
            records.append(
                {
                    "id": len(records) + 1,
                    "image_id": number,
                    "iscrowd": 0,
                    "category_id": categories.setdefault(name, len(categories) + 1),
                    "area": int(mask.sum()),
                    "segmentation": encode_coco(mask),
                }
            )
    content = {
        "images": entries,
        "annotations": records,
        "categories": [{"id": value, "name": name} for name, value in categories.items()],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content))
    return len(records)


def _grid_masks(
    teacher: PromptModel,
    embedding: ImageEmbedding,
    geometry: SamFrame,
    config: DistillConfig,
) -> Iterator[NDArray[np.bool_]]:
    """Yield the masks of a grid of points that pass the thresholds, the surest first."""
    height, width = geometry.original
    steps = (np.arange(config.grid) + 0.5) / config.grid
    points = np.stack(np.meshgrid(steps * width, steps * height), axis=-1).reshape(-1, 1, 2)
    logits, iou = teacher.decode(
        embedding, points_to_frame(points, geometry), torch.ones(len(points), 1, dtype=torch.int64)
    )
    for index in iou[:, 0].argsort(descending=True).tolist():
        if iou[index, 0] < config.minimum_iou:
            return
        mask = masks_to_picture(logits[index : index + 1], geometry)[0, 0]
        if config.minimum_share <= mask.mean() <= config.maximum_share:
            yield mask


def _box_iou(mask: NDArray[np.bool_], box: tuple[float, float, float, float]) -> float:
    """Return the IoU of a mask's own box with the box it was asked for."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0
    own = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return float(box_ious([own], [box])[0, 0])


def _text(node: ElementTree.Element, name: str) -> str:
    text = node.findtext(name)
    if text is None:
        raise ValueError(f"an object without {name!r}")
    return text.strip()


def _box(node: ElementTree.Element | None) -> tuple[float, float, float, float]:
    if node is None:
        raise ValueError("an object without 'bndbox'")
    # Pascal VOC counts pixels from 1 and includes the last one.
    x1, y1, x2, y2 = (float(_text(node, key)) for key in ("xmin", "ymin", "xmax", "ymax"))
    return x1 - 1, y1 - 1, x2, y2
