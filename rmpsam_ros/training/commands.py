"""Sub-commands ``train`` and ``distill`` of ``rmpsam``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from rmpsam_ros.commands import CommandError
from rmpsam_ros.model.sam import CheckpointError, load_prompt_model

from . import distributed
from .config import ConfigError, load_config
from .distill import DistillConfig, distill
from .preview import make_preview
from .samples import DataError
from .state import ResumeError
from .trainer import Trainer, TrainingError

_PREVIEW_LIMITS = (512, 512)


def add_parsers(subparsers: Any) -> None:
    """Add ``train`` and ``distill`` to the sub-commands of ``rmpsam``."""
    _add_train(subparsers)
    _add_distill(subparsers)


def _add_train(subparsers: Any) -> None:
    text = "train a network as a configuration says; run it again to go on where it stopped"
    parser = subparsers.add_parser("train", help=text, description=text)
    parser.add_argument("config", type=Path, help="YAML file, e.g. config/training/demo.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--data", type=Path, help="folder of the data (default: as configured)")
    parser.add_argument("--start-from", type=Path, help="weights of an earlier run")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.set_defaults(run=run_train)


def _add_distill(subparsers: Any) -> None:
    text = "let a promptable model turn boxes, or plain pictures, into a data set of masks"
    parser = subparsers.add_parser("distill", help=text, description=text)
    parser.add_argument("images", type=Path, help="folder of pictures")
    parser.add_argument("output", type=Path, help="COCO instances file to write")
    parser.add_argument("--boxes", type=Path, help="folder of Pascal VOC XML files with boxes")
    parser.add_argument("--split", type=Path, help="file with the names of the pictures to use")
    parser.add_argument("--teacher", type=Path, required=True, help="weights of MobileSAM")
    parser.add_argument(
        "--grid", type=int, default=0, help="points per side to look for unnamed masks (0: none)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.set_defaults(run=run_distill)


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


def run_distill(options: argparse.Namespace) -> None:
    """Write the teacher's masks of a folder of pictures."""
    if not options.boxes and not options.grid:
        raise CommandError("neither --boxes nor --grid: there is nothing to ask the teacher")
    try:
        device = distributed.start(options.device).device
        teacher = load_prompt_model("mobile_sam", options.teacher).to(device)
        images = sorted(
            path for path in options.images.iterdir() if path.suffix.lower() in (".jpg", ".png")
        )
        if options.split:
            names = set(options.split.read_text().split())
            images = [path for path in images if path.stem in names]
        count = distill(
            teacher, images, options.boxes, options.output, DistillConfig(grid=options.grid)
        )
    except (DataError, CheckpointError, OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(f"wrote {options.output}: {count} masks of {len(images)} pictures")
