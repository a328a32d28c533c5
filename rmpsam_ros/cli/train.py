"""Sub-command ``train``."""

import argparse
from dataclasses import replace
from pathlib import Path

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.training import distributed
from rmpsam_ros.training.config import ConfigError, load_config
from rmpsam_ros.training.preview import make_preview
from rmpsam_ros.training.state import ResumeError
from rmpsam_ros.training.trainer import Trainer, TrainingError

_PREVIEW_LIMITS = (512, 512)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    parser.add_argument("config", type=Path, help="YAML file, e.g. config/training/demo.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--data", type=Path, help="folder of the data (default: as configured)")
    parser.add_argument("--start-from", type=Path, help="weights of an earlier run")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> None:
    """Train; with several processes under torchrun."""
    try:
        process = distributed.start(options.device)
        config = load_config(options.config, options.data)
        if options.start_from:
            config = replace(config, start_from=options.start_from)
        trainer = Trainer(config, options.out, process)
        preview = None
        if config.loop.preview_interval:
            preview = make_preview(
                trainer.sources, config.label_set, options.out, _PREVIEW_LIMITS, process
            )
        trainer.run(preview)
    except (ConfigError, DataError, ResumeError, TrainingError, ValueError) as error:
        raise CommandError(str(error)) from error
    finally:
        distributed.stop()
