"""Figures of identity on annotated video: tracks that keep their id, prompted objects.

    python tools/figures/video_figures.py davis FOLDER [SEQUENCE ...] --weights WEIGHTS
    python tools/figures/video_figures.py lmo FOLDER --weights WEIGHTS [--clip-frames 5]

Runs the live pipeline, frame by frame, as the node does. ``davis`` reads DAVIS 2016 (one annotated
object each): identity switches and fragmentations of the object's panoptic track, and J and F of
the object prompted in the first frame, once by its box and once by a click on its deepest point,
and followed in every frame. ``lmo`` reads Linemod-Occluded frames (masks with ids that persist):
identity switches and fragmentations over all objects. Tracks count when confirmed, whatever their
class; an object is found where a track overlaps it by an IoU of 0.5. As in DAVIS, J and F leave
out the first and the last frame; a lost object is an empty mask. Without --weights the network has
random weights: its tracks mean nothing, prompts of other engines than rmpsam do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rmpsam_ros.evaluation.interactive import click_position, tight_box
from rmpsam_ros.evaluation.video import IdentitySwitches, contour_accuracy, region_similarity
from rmpsam_ros.evaluation.video_objects import davis_frames, davis_sequences
from rmpsam_ros.pipeline import (
    FrameResult,
    Pipeline,
    PipelineConfig,
    PromptedMask,
    PromptingConfig,
    create_pipeline,
)
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking import TrackState
from rmpsam_ros.tracking.prompted_records import PromptState

DAVIS_RATE = 24.0  # frames per second of the videos that DAVIS was cut from
LMO_RATE = 30.0


def first_prompts(truth: np.ndarray) -> dict[str, ObjectPrompt]:
    """Prompts for an annotated object, (H, W) bool: its box and a click."""
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.uint8), np.zeros((0, 4), np.float32)
    box = np.array([tight_box(truth)], np.float32)
    click = np.array([click_position(truth)], np.float32)
    return {
        "box": ObjectPrompt(none[0], none[1], box),
        "click": ObjectPrompt(click, np.ones(1, np.uint8), none[2]),
    }


def count_tracks(
    counter: IdentitySwitches, result: FrameResult, objects: dict[int, np.ndarray]
) -> None:
    """Count one frame with annotated objects, (H, W) bool by id."""
    confirmed = [track.id for track in result.tracks if track.state is TrackState.CONFIRMED]
    shape = (0, result.height, result.width)
    masks = [decode_mask(result.track_masks[one]) for one in confirmed]
    truth = list(objects.values())
    counter.add(
        confirmed,
        np.stack(masks) if masks else np.zeros(shape, bool),
        list(objects),
        np.stack(truth) if truth else np.zeros(shape, bool),
    )


def track_figures(counters: Iterable[IdentitySwitches]) -> dict[str, float]:
    """Sums over videos."""
    names = ("switches", "fragmentations", "matches", "objects")
    return {name: sum(getattr(counter, name) for counter in counters) for name in names}


class PromptedScore:
    """J and F of one prompted object, and how often it was lost."""

    def __init__(self) -> None:
        self._regions: list[float] = []
        self._contours: list[float] = []
        self._was_lost = False
        self.lost_frames = self.losses = 0

    def add(self, found: PromptedMask, truth: np.ndarray) -> None:
        mask = decode_mask(found.mask)
        self._regions.append(region_similarity(mask, truth))
        self._contours.append(contour_accuracy(mask, truth))
        is_lost = found.state is PromptState.LOST
        self.lost_frames += is_lost
        self.losses += is_lost and not self._was_lost
        self._was_lost = is_lost

    def figures(self) -> dict[str, float]:
        j, f = (float(np.mean(one[:-1])) for one in (self._regions, self._contours))
        lost = {"lost_frames": self.lost_frames, "losses": self.losses}
        return {"j": j, "f": f, "j_and_f": (j + f) / 2, **lost}


def davis_sequence(
    pipeline: Pipeline, frames: Iterator[tuple[np.ndarray, np.ndarray]]
) -> tuple[IdentitySwitches, dict[str, PromptedScore]]:
    """Run one sequence through a pipeline without memory of another one."""
    counter, scores = IdentitySwitches(), {}
    for index, (image, truth) in enumerate(frames):
        result = pipeline.process(image, index / DAVIS_RATE)
        count_tracks(counter, result, {1: truth} if truth.any() else {})
        if index == 0:
            for name, prompt in first_prompts(truth).items():
                pipeline.prompts.prompt(prompt, object_id=name, track=True)
                scores[name] = PromptedScore()
            continue
        for found in pipeline.prompts.follow() or result.prompted:
            assert found.stamp == result.stamp, "every frame is searched"
            scores[found.object_id].add(found, truth)
    return counter, scores


def davis(pipeline: Pipeline, options: argparse.Namespace) -> dict[str, Any]:
    """Figures by sequence, and over all."""
    counters, by_sequence = [], {}
    for name in options.sequences or davis_sequences(options.folder):
        pipeline.reset()
        frames = itertools.islice(davis_frames(options.folder, name), options.frames)
        counter, scores = davis_sequence(pipeline, frames)
        counters.append(counter)
        by_sequence[name] = {
            "tracks": track_figures([counter]),
            **{how: score.figures() for how, score in scores.items()},
        }
        print(name, json.dumps(rounded(by_sequence[name])), flush=True)
    means = {
        how: {
            key: float(np.mean([one[how][key] for one in by_sequence.values()]))
            for key in ("j", "f", "j_and_f", "lost_frames", "losses")
        }
        for how in ("box", "click")
    }
    return {"tracks": track_figures(counters), **means, "per_sequence": by_sequence}


def lmo(pipeline: Pipeline, options: argparse.Namespace) -> dict[str, Any]:
    """Figures over the one video; the stamps are those of its frame numbers."""
    counter = IdentitySwitches()
    for path in sorted((options.folder / "masks").glob("*.png")):
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        image = cv2.imread(str(options.folder / "images" / f"{path.stem}.jpg"))
        result = pipeline.process(image, int(path.stem) / LMO_RATE, "bgr")
        count_tracks(counter, result, {int(k): ids == k for k in np.unique(ids) if k})
    return {"tracks": track_figures([counter])}


def rounded(values: Any) -> Any:
    """Figures to read."""
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    return round(values, 3) if isinstance(values, float) and math.isfinite(values) else values


def make_pipeline(options: argparse.Namespace) -> Pipeline:
    """The pipeline of the node, but every frame is searched for prompted objects."""
    config = PipelineConfig(
        network=EngineConfig(
            model=options.model,
            weights=options.weights,
            engine=options.engine,
            num_threads=options.num_threads,
            clip_frames=options.clip_frames,
        ),
        labels=options.labels,
        long_side=options.long_side,
        short_side=options.short_side,
        fusion=FusionConfig(options.score, options.overlap),
        prompting=PromptingConfig(
            engine=options.prompt_engine, weights=options.prompt_weights, prompt_rate=0.0
        ),
    )
    return create_pipeline(config, print)


def main() -> None:
    """Run one data set, print JSON, and write it if wanted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    network, pipeline = EngineConfig(), PipelineConfig()
    add = parser.add_argument
    add("data", choices=("davis", "lmo"))
    add("folder", type=Path)
    add("sequences", nargs="*", help="of DAVIS (default: all)")
    add("--frames", type=int, help="most frames of a sequence of DAVIS (default: all)")
    add("--model", default=network.model)
    add("--weights", default="")
    add("--labels", default=pipeline.labels)
    add("--engine", default=network.engine)
    add("--num-threads", type=int, default=0, help="0: one per core")
    add("--clip-frames", type=int, default=1, help="frames of the tube (default: single frames)")
    add("--prompt-engine", default="mobile_sam")
    add("--prompt-weights", default="")
    add("--long-side", type=int, default=pipeline.long_side)
    add("--short-side", type=int, default=pipeline.short_side)
    add("--score", type=float, default=pipeline.fusion.score_threshold)
    add("--overlap", type=float, default=pipeline.fusion.overlap_threshold)
    add("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    run = {"davis": davis, "lmo": lmo}[options.data]
    figures = run(make_pipeline(options), options)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(rounded(figures), indent=2))


if __name__ == "__main__":
    main()
