"""Sub-command ``eval`` of ``rmpsam``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rmpsam_ros.cli.common import add_model_options, make_pipeline
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.network_options import network_config
from rmpsam_ros.cli.outputs import check_output
from rmpsam_ros.data import SampleSet, open_dataset
from rmpsam_ros.data.samples import DataError, Sample
from rmpsam_ros.evaluation.predictors import Promptable
from rmpsam_ros.evaluation.product import ProductPredictor
from rmpsam_ros.evaluation.raw import RawNetwork, RawPromptModel
from rmpsam_ros.evaluation.tasks import evaluate_images, evaluate_prompts, load_samples
from rmpsam_ros.evaluation.video_objects import davis_sequences, evaluate_davis
from rmpsam_ros.model.sam import CheckpointError, load_prompt_model
from rmpsam_ros.pipeline import PipelineConfig, PromptingConfig
from rmpsam_ros.prompting import PROMPT_ENGINES
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.runtime.network import resolve
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.training import distributed
from rmpsam_ros.training.config import ConfigError, EvaluationConfig, TrainingConfig, load_config
from rmpsam_ros.training.state import ResumeError, load_exported

FAILURES = (
    ConfigError,
    DataError,
    ResumeError,
    CheckpointError,
    EngineError,
    FloatingPointError,
    OSError,
    ValueError,
)
DAVIS_TASK = "click_and_follow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    add = parser.add_argument
    add("config", type=Path, help="YAML file, e.g. config/training/demo.yaml")
    add_model_options(parser)
    add("--prompt-engine", choices=PROMPT_ENGINES, default="rmpsam", help="default: %(default)s")
    add("--prompt-weights", default="", help="default: those in the package")
    add("--raw", action="store_true", help="the network alone in PyTorch, its masks as they come")
    add("--prompt-model", type=Path, help="with --raw: weights of a MobileSAM alone instead")
    add("--data", type=Path, help="folder of the data (default: as configured)")
    add("--only", nargs="*", help="names of the data sets (default: all)")
    add("--out", type=Path, help="JSON file to write")
    thresholds = "panoptic {} threshold (default: {}; with --raw 0.8)"
    fusion = PipelineConfig().fusion
    for name, value in (("score", fusion.score_threshold), ("overlap", fusion.overlap_threshold)):
        add(f"--{name}", type=float, help=thresholds.format(name, value))
    parser.set_defaults(run=run_eval)


def run_eval(options: argparse.Namespace) -> None:
    """Evaluate, print a table, and write JSON."""
    try:
        config = load_config(options.config, options.data)
        _check_names(options.only or (), config)
        if options.out:
            check_output(options.out, overwrite=True)  # a run is repeated, and its figures, too
        predictor = _raw(options) if options.raw else _product(options)
        _check_labels(predictor, config)
        figures = evaluate(config, predictor, options.only)
    except FAILURES as error:
        raise CommandError(str(error)) from error
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))


def _check_names(names: Collection[str], config: TrainingConfig) -> None:
    """Raise ConfigError for a data set that the configuration does not have."""
    known = [entry.dataset.name for entry in config.evaluation]
    for name in names:
        if name not in known:
            raise ConfigError(f"--only names '{name}'; {config.path} has {', '.join(known)}")


def _product(options: argparse.Namespace) -> ProductPredictor:
    """Return the pipeline that the options choose."""
    if options.prompt_model:
        raise CommandError("--prompt-model is measured alone: add --raw, or use --prompt-engine")
    prompting = PromptingConfig(
        engine=options.prompt_engine,
        weights=options.prompt_weights,
        prompt_rate=0.0,  # in every frame
    )
    fusion = _fusion(options, PipelineConfig().fusion)
    return ProductPredictor(make_pipeline(options, fusion=fusion, prompting=prompting))


def _raw(options: argparse.Namespace) -> RawNetwork | RawPromptModel:
    """Return the network that the options choose, or the prompt model, without the product."""
    device = distributed.start(options.device).device
    if options.prompt_model:
        return RawPromptModel(load_prompt_model("mobile_sam", options.prompt_model), device)
    weights = resolve(network_config(options)).weights
    if not weights:
        raise CommandError("--raw needs weights: a file that rmpsam train wrote, or demo")
    network, label_set = load_exported(Path(weights))
    limits = (options.long_side, options.short_side)
    return RawNetwork(network, label_set, limits, device, _fusion(options, FusionConfig()))


def _fusion(options: argparse.Namespace, default: FusionConfig) -> FusionConfig:
    given = {"score_threshold": options.score, "overlap_threshold": options.overlap}
    return replace(default, **{name: value for name, value in given.items() if value is not None})


def _check_labels(predictor: Promptable, config: TrainingConfig) -> None:
    """Raise ConfigError if predictions and annotations have different classes."""
    if isinstance(predictor, RawPromptModel):
        return
    assert isinstance(predictor, (ProductPredictor, RawNetwork))
    own, wanted = (
        [label.name for label in label_set.labels]
        for label_set in (predictor.label_set, config.label_set)
    )
    if own != wanted:
        raise ConfigError(
            f"the network has {len(own)} classes from '{own[0]}' to '{own[-1]}', the "
            f"configuration {len(wanted)} from '{wanted[0]}' to '{wanted[-1]}'; expected the same"
        )


def evaluate(
    config: TrainingConfig,
    predictor: ProductPredictor | RawNetwork | RawPromptModel,
    only: Collection[str] | None,
) -> dict[str, Any]:
    """Return the figures by data set; ``only``: the names of some."""
    figures = {}
    for entry in config.evaluation:
        if only and entry.dataset.name not in only:
            continue
        result = _evaluate_one(predictor, entry)
        if result:
            figures[entry.dataset.name] = result
    return figures


def _evaluate_one(
    predictor: ProductPredictor | RawNetwork | RawPromptModel, entry: EvaluationConfig
) -> dict[str, Any]:
    tasks, name = list(entry.tasks), entry.dataset.name
    if tasks == [DAVIS_TASK]:
        root = entry.dataset.images
        sequences = tqdm(davis_sequences(root), desc=name, unit="sequence")
        return {DAVIS_TASK: evaluate_davis(predictor, root, list(sequences))}
    if isinstance(predictor, RawPromptModel):
        if "interactive" not in tasks:
            return {}
        return evaluate_prompts(predictor, _progress(entry))
    return evaluate_images(predictor, _progress(entry), tasks)


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
