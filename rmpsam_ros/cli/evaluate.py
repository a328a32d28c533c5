"""Sub-command ``eval`` of ``rmpsam``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.data import SampleSet, open_dataset
from rmpsam_ros.data.samples import DataError, Sample
from rmpsam_ros.evaluation.predictors import NetworkPredictor, PromptModelPredictor
from rmpsam_ros.evaluation.tasks import evaluate_network, evaluate_prompter, load_samples
from rmpsam_ros.evaluation.video_objects import davis_sequences, evaluate_davis
from rmpsam_ros.model.sam import CheckpointError, load_prompt_model
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.training import distributed
from rmpsam_ros.training.config import ConfigError, EvaluationConfig, TrainingConfig, load_config
from rmpsam_ros.training.state import ResumeError, load_exported

DAVIS_TASK = "click_and_follow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    parser.add_argument("config", type=Path, help="YAML file, e.g. config/training/demo.yaml")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--weights", type=Path, help="file that rmpsam train wrote")
    which.add_argument("--prompt-model", type=Path, help="weights of MobileSAM, to compare with")
    parser.add_argument("--data", type=Path, help="folder of the data (default: as configured)")
    parser.add_argument("--only", nargs="*", help="names of the data sets (default: all)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--long-side", type=int, default=640, help="pixels (default: 640)")
    parser.add_argument("--short-side", type=int, default=480, help="pixels (default: 480)")
    parser.add_argument("--score", type=float, default=0.8, help="panoptic score threshold")
    parser.add_argument("--overlap", type=float, default=0.8, help="panoptic overlap threshold")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.set_defaults(run=run_eval)


def run_eval(options: argparse.Namespace) -> None:
    """Evaluate, print a table, and write JSON."""
    try:
        config = load_config(options.config, options.data)
        device = distributed.start(options.device).device
        figures = evaluate(config, options, device)
    except (ConfigError, DataError, ResumeError, CheckpointError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))


def evaluate(
    config: TrainingConfig, options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Return the figures by data set."""
    predictor: NetworkPredictor | PromptModelPredictor
    if options.weights:
        network, label_set = load_exported(options.weights)
        limits = (options.long_side, options.short_side)
        predictor = NetworkPredictor(network, label_set, limits, device)
    else:
        model = load_prompt_model("mobile_sam", options.prompt_model)
        predictor = PromptModelPredictor(model, device)
    fusion = FusionConfig(options.score, options.overlap)
    figures = {}
    for entry in config.evaluation:
        if options.only and entry.dataset.name not in options.only:
            continue
        result = _evaluate_one(predictor, entry, fusion)
        if result:
            figures[entry.dataset.name] = result
    return figures


def _evaluate_one(
    predictor: NetworkPredictor | PromptModelPredictor,
    entry: EvaluationConfig,
    fusion: FusionConfig,
) -> dict[str, Any]:
    tasks, name = list(entry.tasks), entry.dataset.name
    if tasks == [DAVIS_TASK]:
        root = entry.dataset.images
        sequences = tqdm(davis_sequences(root), desc=name, unit="sequence")
        return {DAVIS_TASK: evaluate_davis(predictor, root, list(sequences))}
    if isinstance(predictor, PromptModelPredictor):
        if "interactive" not in tasks:
            return {}
        return evaluate_prompter(predictor, _progress(entry))
    return evaluate_network(predictor, _progress(entry), tasks, fusion)


def _progress(entry: EvaluationConfig) -> Iterator[Sample]:
    data = open_dataset(entry.dataset)
    if not isinstance(data, SampleSet):
        raise ConfigError(f"evaluation {entry.dataset.name!r}: videos need the task {DAVIS_TASK}")
    return iter(tqdm(load_samples(data), desc=entry.dataset.name, total=len(data)))


def table(figures: dict[str, Any]) -> str:
    """Return the single numbers of all data sets, one per line; details are in the JSON."""
    lines = []
    for name, tasks in figures.items():
        for path, value in _numbers(tasks):
            lines.append(f"{name:18s} {path:34s} {value:9.4f}")
    return "\n".join(lines)


def _numbers(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, dict):
            if not key.startswith("per_"):
                yield from _numbers(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", float(value)
