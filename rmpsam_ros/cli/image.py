"""Sub-command ``image``: one image, with the result drawn over it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.cli.common import (
    add_model_options,
    draw_bgr,
    make_pipeline,
    read_image,
    write_image,
)
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.outputs import IMAGES, add_overwrite, check_output
from rmpsam_ros.pipeline import Pipeline, PromptingConfig
from rmpsam_ros.prompting import PROMPT_ENGINES, PromptedMask
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.prompt_overlay import draw_prompted
from rmpsam_ros.segmentation.prompt_types import PromptError, validate_prompt
from rmpsam_ros.video.video_prompts import TimedPrompt, parse_prompt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    add = parser.add_argument
    add("input", type=Path)
    add("output", type=Path)
    add(
        "--prompt",
        type=_prompt,
        action="append",
        default=[],
        metavar="X,Y[,X2,Y2]",
        help="click or box, in pixels; draws the masks of what is there instead of all segments; "
        "may be repeated",
    )
    add("--prompt-engine", default="mobile_sam", choices=PROMPT_ENGINES,
        help="default: %(default)s")  # fmt: skip
    add("--prompt-weights", default="", help="default: those in the package")
    add_overwrite(parser)
    add_model_options(parser)
    parser.set_defaults(run=run_image)


def _prompt(text: str) -> TimedPrompt:
    if "@" in text:
        raise argparse.ArgumentTypeError(f"'{text}' has a time, but an image has none")
    try:
        return parse_prompt(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).split(", and @", maxsplit=1)[0]) from error


def run_image(options: argparse.Namespace) -> None:
    """Segment ``options.input`` and write the overlay to ``options.output``."""
    image = read_image(options.input)
    check_output(options.output, options.overwrite, IMAGES)
    settings: dict[str, Any] = {}
    try:
        for one in options.prompt:
            validate_prompt(one.prompt, image.shape[:2])
        if options.prompt:
            settings["prompting"] = PromptingConfig(
                engine=options.prompt_engine, weights=options.prompt_weights
            )
        pipeline = make_pipeline(options, **settings)
        result = pipeline.process(image, 0.0, "bgr")
        if options.prompt:
            drawn = _prompted(pipeline, image, options.prompt)
        else:
            drawn = draw_bgr(pipeline, image, result)
    except (EngineError, PromptError, FloatingPointError, ValueError) as error:
        raise CommandError(str(error)) from error
    write_image(options.output, drawn)
    for segment in () if options.prompt else result.panoptic.segments:
        name = pipeline.label_set.labels[segment.class_id].name
        print(f"{name:24s} {segment.score:.2f}  {segment.area:8d} px  box {segment.box}")
    print(f"wrote {options.output}")


def _prompted(
    pipeline: Pipeline, bgr: NDArray[np.uint8], prompts: list[TimedPrompt]
) -> NDArray[np.uint8]:
    """Answer prompts on the image that was just processed, print them, and draw the masks."""
    print(f"prompts: {pipeline.prompts.engine.info}")
    objects = []
    for one in prompts:
        found: PromptedMask = pipeline.prompts.prompt(one.prompt, 0.0)
        box = found.mask.box
        print(f"{one.text:24s} {found.score:.2f}  {found.mask.area:8d} px  box {box}")
        objects.append((one.text, found.mask, True))
    canvas = np.ascontiguousarray(bgr[..., ::-1])
    draw_prompted(canvas, objects)
    return np.ascontiguousarray(canvas[..., ::-1])
