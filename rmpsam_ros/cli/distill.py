"""Sub-command ``distill``: masks from a promptable model."""

import argparse
from pathlib import Path

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.model.sam import CheckpointError, load_prompt_model
from rmpsam_ros.training import distributed
from rmpsam_ros.training.distill import DistillConfig, distill


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
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
