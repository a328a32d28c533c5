"""Figures of prompts: J and F of followed objects on DAVIS, and the time of a click.

    python tests/tools/prompt_figures.py davis ROOT SEQUENCE... [--frames 25] [--engine mobile_sam]
    python tests/tools/prompt_figures.py clicks [--rounds 20]

``davis`` prompts the object of the first frame, once by its box and once by a click on its deepest
point, follows it through every frame, and compares with the annotation. The first frame does not
count, a lost object counts as an empty mask. ``clicks`` times a click on a frame that was encoded
before (decoder, mask at image size, and everything that is remembered of it).
"""

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from rmpsam_ros.evaluation.video import contour_accuracy, region_similarity
from rmpsam_ros.pipeline import Pipeline, PipelineConfig, PromptingConfig
from rmpsam_ros.prompting import FollowPass, KeptFrame, Prompter, load_prompt_engine
from rmpsam_ros.prompting.query_masks import QueryMasks
from rmpsam_ros.runtime import ModelConfig, load_engine
from rmpsam_ros.segmentation.interior import deepest_point
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.preprocess import fit
from rmpsam_ros.segmentation.prompts import ObjectPrompt
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking.prompted_records import PromptState

CPU = ModelConfig(device="cpu")
NO_QUERIES = QueryMasks(np.zeros(1, np.float32), np.zeros((1, 1), np.uint8), (1, 1))


def first_prompt(truth: np.ndarray, how: str) -> ObjectPrompt:
    """A prompt for an annotated object: its box or a click."""
    y, x = np.nonzero(truth)
    box = [(x.min(), y.min(), x.max() + 1, y.max() + 1)] if how == "box" else []
    points = [] if how == "box" else [deepest_point(truth)]
    return ObjectPrompt(
        np.array(points, np.float32).reshape(-1, 2),
        np.ones(len(points), np.uint8),
        np.array(box, np.float32).reshape(-1, 4),
    )


def follow_sequence(prompter: Prompter, root: Path, name: str, how: str, frames: int):
    """J and F over the frames after the first, and how many of them it was lost in."""
    regions, contours, lost = [], [], 0
    for k, path in enumerate(sorted((root / "JPEGImages" / name).glob("*.jpg"))[:frames]):
        image = cv2.imread(str(path))
        annotation = root / "Annotations" / name / f"{path.stem}.png"
        truth = cv2.imread(str(annotation), cv2.IMREAD_GRAYSCALE) > 0
        geometry = fit(truth.shape, (640, 480))
        kept = KeptFrame(k / 10, image, "bgr", geometry, None, NO_QUERIES)
        prompter.keep(kept, FollowPass(), None)
        if k == 0:
            prompter.prompt(first_prompt(truth, how), None, name, True)
            continue
        (found,) = prompter.follow()
        mask = decode_mask(found.mask)
        lost += found.state is PromptState.LOST
        regions.append(region_similarity(mask, truth))
        contours.append(contour_accuracy(mask, truth))
    return float(np.mean(regions)), float(np.mean(contours)), lost


def davis(options: argparse.Namespace) -> None:
    """Print J, F and their mean for every sequence and over all."""
    config = PromptingConfig(engine=options.engine, weights=options.weights, prompt_rate=0.0)
    engine = load_prompt_engine(config, CPU, print)
    for how in ("box", "click"):
        rows = []
        for name in options.sequences:
            row = follow_sequence(
                Prompter(engine, config), options.root, name, how, options.frames
            )
            rows.append(row)
            print(f"{how:6} {name:18} J {row[0]:.3f}  F {row[1]:.3f}  lost {row[2]}", flush=True)
        region, contour, lost = np.mean(rows, axis=0)
        print(
            f"{how:6} {'mean of ' + str(len(rows)):18} J {region:.3f}  F {contour:.3f}  "
            f"J&F {(region + contour) / 2:.3f}  lost {lost:.1f}"
        )


def clicks(options: argparse.Namespace) -> None:
    """Print milliseconds of a click with mobile_sam and with the network's own decoder."""
    torch.set_num_threads(2)
    network = load_engine(ModelConfig(engine="torch"), 133)
    labels = load_label_set("coco_panoptic")
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    prompt = ObjectPrompt(
        np.array([[320, 240]], np.float32), np.array([1]), np.zeros((0, 4), np.float32)
    )
    for name in ("mobile_sam", "rmpsam"):
        prompting = PromptingConfig(engine=name)
        engine = load_prompt_engine(prompting, CPU)
        pipeline = Pipeline(network, labels, PipelineConfig(prompting=prompting), engine)
        pipeline.process(image, 0.0)
        started = time.perf_counter()
        pipeline.prompt(prompt)
        first = time.perf_counter() - started
        times = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            pipeline.prompt(prompt)
            times.append(time.perf_counter() - started)
        print(
            f"{name:11} click {1e3 * min(times):6.1f} ms least, "
            f"{1e3 * statistics.median(times):6.1f} ms median; the first on a frame, "
            f"with its encoder: {1e3 * first:.0f} ms"
        )


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(required=True)
    follow = commands.add_parser("davis")
    follow.add_argument("root", type=Path)
    follow.add_argument("sequences", nargs="+")
    follow.add_argument("--frames", type=int, default=25)
    follow.add_argument("--engine", default="mobile_sam")
    follow.add_argument("--weights", default="")
    follow.set_defaults(run=davis)
    click = commands.add_parser("clicks")
    click.add_argument("--rounds", type=int, default=20)
    click.set_defaults(run=clicks)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
