"""Sub-command ``calibrate``."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from rmpsam_ros import defaults
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.data import SampleSet
from rmpsam_ros.data.samples import DataError, Sample
from rmpsam_ros.training.calibration import CalibrationConfig, calibrate, collect
from rmpsam_ros.training.config import ConfigError, TrainingConfig, load_config
from rmpsam_ros.training.state import ResumeError, export_weights, load_exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    parser.add_argument("config", type=Path, help="YAML file that names the data sets")
    parser.add_argument("--weights", type=Path, required=True, help="a file of rmpsam train")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--data", type=Path, help="folder of the data (default: as configured)")
    parser.add_argument("--images", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.set_defaults(run=run_calibrate)


def run_calibrate(options: argparse.Namespace) -> None:
    """Look at images with the network, fit its scores, and write its weights."""
    settings = CalibrationConfig()
    limits = (defaults.LONG_SIDE, defaults.SHORT_SIDE)
    try:
        config = load_config(options.config, options.data)
        network, labels = load_exported(options.weights)
        things = torch.tensor([label.is_thing for label in labels.labels])
        names = [label.name for label in labels.labels]
        general = config.losses.general_class
        images = tqdm(draw(config, options.images, options.seed), total=options.images)
        samples = collect(network, images, things, limits, settings)
        place = names.index(general) if general in names else -1
        losses = list(calibrate(network, samples, things, place, settings, options.seed))
        print(f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps", flush=True)
        export_weights(
            options.out,
            network,
            str(config.network),
            labels,
            {"calibrated": str(options.images)},
        )
    except (ConfigError, DataError, ResumeError, ValueError) as error:
        raise CommandError(str(error)) from error


def draw(config: TrainingConfig, number: int, seed: int) -> Iterator[tuple[str, Sample]]:
    """Yield images by their data sets' weights for panoptic batches, half of them mirrored."""
    sources = [source for source in config.open_sources() if isinstance(source.data, SampleSet)]
    weights = np.array([source.weights.get("panoptic", 0.0) for source in sources])
    rng = np.random.default_rng(seed)
    for _ in range(number):
        source = sources[int(rng.choice(len(sources), p=weights / weights.sum()))]
        assert isinstance(source.data, SampleSet)
        sample = source.data.load(int(rng.integers(len(source.data))))
        yield source.name, mirrored(sample) if rng.random() < 0.5 else sample


def mirrored(sample: Sample) -> Sample:
    """Return an image, and its annotation, from right to left."""
    return replace(
        sample,
        image=np.ascontiguousarray(sample.image[:, ::-1]),
        masks=np.ascontiguousarray(sample.masks[:, :, ::-1]),
        ignore=np.ascontiguousarray(sample.ignore[:, ::-1]),
    )
