"""Boxes against a grid of points as prompts for masks of everything, on the same pictures.

    python tools/figures/compare_everything.py FOLDER [--weights demo] [--pictures 10] \
        [--grid 16 --grid 32] [--engine mobile_sam]

FOLDER has images/ and labels/ in the form of YOLO segmentations. Compared are boxes around the
object queries of the network (with its weights; without any these mean nothing and are left out),
the tight boxes of the annotated objects (what a perfect detector would give), and grids. Recall:
the share of annotated objects larger than 400 pixels that some mask covers with an IoU of 0.5.
The image is encoded once before; its time and the network's are lines of their own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from eval_sam_coco128 import MINIMUM_AREA, read_masks, tight_box

from rmpsam_ros.prompting import KeptFrame, PromptingConfig, QueryMasks, load_prompt_engine
from rmpsam_ros.prompting.answers import FoundMask, PromptEngine
from rmpsam_ros.prompting.query_masks import pack_queries
from rmpsam_ros.prompting.segment_everything import everything_from_boxes, everything_from_grid
from rmpsam_ros.runtime import Engine, EngineConfig, load_engine
from rmpsam_ros.runtime.network import label_set_of
from rmpsam_ros.segmentation.preprocess import fit
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking.association import embed_queries

LIMITS = (640, 480)
NO_QUERIES = QueryMasks(
    np.zeros(1, np.float32), np.zeros((1, 1), np.uint8), (1, 1), np.zeros((1, 8), np.float32)
)


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="random", help="of the network: file, demo or random")
    parser.add_argument("--engine", default="mobile_sam")
    parser.add_argument("--prompt-weights", default="")
    parser.add_argument("--pictures", type=int, default=10, help="at most, evenly spread")
    parser.add_argument("--grid", type=int, action="append", help="points per side")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = EngineConfig(weights=options.weights, num_threads=options.threads)
    prompts = load_prompt_engine(
        PromptingConfig(engine=options.engine, weights=options.prompt_weights), config, print
    )
    network = None
    if options.weights != "random":
        network = load_engine(config, label_set_of(config, "").num_classes, print)
        print(network.info)
    print(prompts.info)

    seconds: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(list)
    overlaps: dict[str, list[float]] = defaultdict(list)
    for image, truth in pictures(options.folder, options.pictures):
        found = answers(image, truth, prompts, network, options.grid or [16, 32], seconds)
        for way, masks in found.items():
            counts[way].append(len(masks))
            overlaps[way] += best_overlaps(masks, truth)
    print("| prompts | masks per picture | seconds | recall at IoU 0.5 | mean best IoU |")
    print("|---|---:|---:|---:|---:|")
    for way, times in seconds.items():
        row = [f"{np.mean(counts[way]):.1f}" if way in counts else "", f"{np.mean(times):.2f}"]
        if way in overlaps:
            best = np.array(overlaps[way])
            row += [f"{(best >= 0.5).mean():.3f}", f"{best.mean():.3f}"]
        print(f"| {way} | {' | '.join(row + [''] * (4 - len(row)))} |")
    objects = len(next(iter(overlaps.values())))
    print(f"\n{len(next(iter(counts.values())))} pictures, {objects} objects")
    return 0


def pictures(folder: Path, most: int):
    """Pictures with objects: RGB, and masks [N, H, W]."""
    paths = sorted((folder / "images").glob("*.jpg"))
    for path in paths[:: max(1, len(paths) // most)][:most]:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        masks = read_masks(folder / "labels" / f"{path.stem}.txt", *image.shape[:2])
        masks = [mask for mask in masks if mask.sum() > MINIMUM_AREA]
        if masks:
            print(f"{path.stem}: {len(masks)} objects", file=sys.stderr, flush=True)
            yield image, np.stack(masks)


def answers(
    image: np.ndarray,
    truth: np.ndarray,
    prompts: PromptEngine,
    network: Engine | None,
    grids: list[int],
    seconds: dict[str, list[float]],
) -> dict[str, list[FoundMask]]:
    """Masks of every way to ask; their times are added to the lists."""

    def timed(name: str, run: Callable[[], list[FoundMask]]) -> list[FoundMask]:
        start = time.perf_counter()
        found = run()
        seconds[name].append(time.perf_counter() - start)
        return found

    frame = KeptFrame(0.0, image, "rgb", fit(image.shape[:2], LIMITS), None, NO_QUERIES)
    if network is not None:
        timed("(the network, once)", lambda: look(network, frame))
    boxes = np.array([tight_box(mask) for mask in truth], np.float32)
    timed("(image encoder, once)", lambda: prompts.in_boxes(frame, boxes[:1]))
    found = {}
    if network is not None:
        found["boxes of object queries"] = timed(
            "boxes of object queries", lambda: everything_from_boxes(prompts, frame)
        )
    name = "tight boxes of the annotation"
    found[name] = timed(name, lambda: prompts.in_boxes(frame, boxes))
    for side in grids:
        name = f"grid {side} x {side}"
        found[name] = timed(name, lambda side=side: everything_from_grid(prompts, frame, side))
    return found


def look(network: Engine, frame: KeptFrame) -> list[FoundMask]:
    """Give the frame the object queries of the network."""
    prepared, frame.geometry = network.prepare(frame.image, LIMITS, "rgb")
    objects = network.run(prepared).objects
    frame.queries = pack_queries(objects, embed_queries(objects.queries))
    return []


def best_overlaps(found: list[FoundMask], truth: np.ndarray) -> list[float]:
    """IoU of every annotated object with the mask that fits it best."""
    best = np.zeros(len(truth))
    for item in found:
        mask = decode_mask(item.mask)
        shared = (truth & mask).sum((1, 2))
        best = np.maximum(best, shared / (truth | mask).sum((1, 2)))
    return best.tolist()


if __name__ == "__main__":
    sys.exit(main())
