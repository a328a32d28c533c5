"""Sub-command ``image``, and what sub-commands that segment files have in common."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.network_options import add_network_options, network_config
from rmpsam_ros.pipeline import (
    FrameResult,
    Pipeline,
    PipelineConfig,
    PipelineError,
    create_pipeline,
)
from rmpsam_ros.runtime import EngineConfig


class CommandError(RuntimeError):
    """A sub-command cannot do what was asked; the message is one line for the terminal."""


def add_parsers(subparsers: Any) -> None:
    """Add ``image`` to the sub-commands of ``rmpsam``."""
    text = "segment one picture and write it with the result drawn over it"
    parser = subparsers.add_parser("image", help=text, description=text)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    add_model_options(parser)
    parser.set_defaults(run=run_image)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `make_pipeline`."""
    network, pipeline = EngineConfig(), PipelineConfig()
    add_network_options(parser, weights="demo")
    add = parser.add_argument
    add("--engine", default=network.engine, help="default: %(default)s")
    add("--device", default=network.device, help="auto, cpu, cuda, cuda:N (default: %(default)s)")
    add("--long-side", type=int, default=pipeline.long_side, help="default: %(default)s pixels")
    add("--short-side", type=int, default=pipeline.short_side, help="default: %(default)s pixels")


def make_pipeline(options: argparse.Namespace, clip_frames: int = 1, **settings: Any) -> Pipeline:
    """Return the pipeline that the options choose; ``settings``: further ones of PipelineConfig.

    Raises:
        CommandError: it cannot be made.
    """
    config = PipelineConfig(
        network=network_config(options, engine=options.engine, device=options.device),
        labels=options.labels,
        long_side=options.long_side,
        short_side=options.short_side,
    )
    network = replace(config.network, clip_frames=clip_frames)
    config = replace(config, network=network, **settings)
    try:
        pipeline = create_pipeline(config, lambda line: print(line, flush=True))
    except PipelineError as error:
        raise CommandError(str(error)) from error
    print(f"running {pipeline.engine_info}")
    return pipeline


def run_image(options: argparse.Namespace) -> None:
    """Segment ``options.input`` and write the overlay to ``options.output``."""
    read = cv2.imread(str(options.input), cv2.IMREAD_COLOR)
    if read is None:
        raise CommandError(f"'{options.input}' is not a picture that can be read")
    image = read.astype(np.uint8, copy=False)
    pipeline = make_pipeline(options)
    result = pipeline.process(image, 0.0, "bgr")
    _write_image(options.output, draw_bgr(pipeline, image, result))
    for segment in result.panoptic.segments:
        name = pipeline.label_set.labels[segment.class_id].name
        print(f"{name:24s} {segment.score:.2f}  {segment.area:8d} px  box {segment.box}")
    print(f"wrote {options.output}")


def draw_bgr(pipeline: Pipeline, bgr: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Draw a result over its image, (H, W, 3), both BGR as OpenCV has them."""
    overlay = pipeline.overlay(np.ascontiguousarray(bgr[..., ::-1]), result)
    return np.ascontiguousarray(overlay[..., ::-1])


def _write_image(path: Path, bgr: NDArray[np.uint8]) -> None:
    try:
        written = cv2.imwrite(str(path), bgr)
    except cv2.error as error:
        raise CommandError(f"'{path}' cannot be written: use a .png or .jpg path") from error
    if not written:
        raise CommandError(f"'{path}' cannot be written: is the folder there and writable?")
