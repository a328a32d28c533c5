"""Box and one-click IoU of a promptable model on a folder of YOLO-style segmentations.

    python tools/figures/eval_sam_coco128.py <folder with images/ and labels/> \
        [--model mobile_sam] [--weights file] [--engine torch]

Every object larger than 400 pixels is prompted twice: with its tight box, and with one click on
its deepest pixel. Both ask for a single mask. The engine is the one that the node would choose, or
PyTorch.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))

from sam_reference import WEIGHTS

from rmpsam_ros.model.sam import transforms
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.runtime.load import load_sam_engine
from rmpsam_ros.runtime.sam_engine import SamEngine

MINIMUM_AREA = 400
"""Pixels; smaller objects are not counted."""


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="mobile_sam")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--engine", choices=("auto", "torch"), default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))

    config = EngineConfig(engine=arguments.engine, num_threads=torch.get_num_threads())
    engine = load_sam_engine(arguments.model, arguments.weights, config, print)
    print(engine.info, engine.info.agreement)
    start = time.perf_counter()
    scores = score_folder(engine, arguments.folder)
    seconds = time.perf_counter() - start
    for kind, values in scores.items():
        found = np.mean(np.array(values) >= 0.5)
        print(f"{kind}: mIoU {np.mean(values):.4f}, IoU 0.5 or better {found:.3f}")
    print(f"{len(scores['box'])} objects, {seconds:.0f} s")
    return 0


def score_folder(engine: SamEngine, folder: Path) -> dict[str, list[float]]:
    """IoU of every object of a folder by both kinds of prompt."""
    scores: dict[str, list[float]] = {"box": [], "click": []}
    for path in sorted((folder / "images").glob("*.jpg")):
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        labels = folder / "labels" / f"{path.stem}.txt"
        masks = [m for m in read_masks(labels, *picture.shape[:2]) if m.sum() > MINIMUM_AREA]
        if masks:
            for kind, values in score_picture(engine, picture, np.stack(masks)).items():
                scores[kind] += values
            print(f"{path.stem}: {len(masks)}", file=sys.stderr)
    return scores


@torch.inference_mode()
def score_picture(
    engine: SamEngine, picture: np.ndarray, masks: np.ndarray
) -> dict[str, list[float]]:
    """IoU of every object [N, H, W] by both kinds of prompt."""
    frame, geometry = transforms.preprocess(picture)
    kept = engine.encode(frame)
    points = np.array([[deepest_pixel(mask)] for mask in masks], np.float64)
    boxes = np.array([tight_box(mask) for mask in masks], np.float64)
    foreground = torch.ones(len(masks), 1, dtype=torch.int64)
    by_box, _ = engine.decode(kept, None, None, transforms.boxes_to_frame(boxes, geometry))
    by_click, _ = engine.decode(kept, transforms.points_to_frame(points, geometry), foreground)
    scores = {}
    for kind, logits in (("box", by_box), ("click", by_click)):
        answers = transforms.masks_to_picture(logits, geometry)[:, 0]
        overlap = (answers & masks).sum((1, 2))
        scores[kind] = (overlap / (answers | masks).sum((1, 2))).tolist()
    return scores


def read_masks(path: Path, height: int, width: int) -> list[np.ndarray]:
    """Masks of the polygons of a file, one of each line: class, then x y ... in 0 to 1."""
    masks = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        polygon = np.array(line.split()[1:], np.float64).reshape(-1, 2) * (width, height)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
        masks.append(mask > 0)
    return masks


def deepest_pixel(mask: np.ndarray) -> tuple[int, int]:
    """Column and row of the pixel farthest from the border of the mask."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row: x0, y0, x1, y1."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


if __name__ == "__main__":
    sys.exit(main())
