"""Sub-command ``image``: one image, with the result drawn over it."""

import argparse
from pathlib import Path

from rmpsam_ros.cli.common import (
    add_model_options,
    draw_bgr,
    make_pipeline,
    read_image,
    write_image,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    add_model_options(parser)
    parser.set_defaults(run=run_image)


def run_image(options: argparse.Namespace) -> None:
    """Segment ``options.input`` and write the overlay to ``options.output``."""
    image = read_image(options.input)
    pipeline = make_pipeline(options)
    result = pipeline.process(image, 0.0, "bgr")
    write_image(options.output, draw_bgr(pipeline, image, result))
    for segment in result.panoptic.segments:
        name = pipeline.label_set.labels[segment.class_id].name
        print(f"{name:24s} {segment.score:.2f}  {segment.area:8d} px  box {segment.box}")
    print(f"wrote {options.output}")
