"""Parts of several sub-commands: their error, the options of the pipeline, overlay files."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.network_options import add_network_options, network_config
from rmpsam_ros.pipeline import (
    FrameResult,
    Pipeline,
    PipelineConfig,
    PipelineError,
    create_pipeline,
)
from rmpsam_ros.runtime import EngineConfig


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
    if licence := pipeline.engine_info.licence:
        print(f"licence of the weights: {licence}")
    return pipeline


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image file as (H, W, 3) uint8 BGR.

    Raises:
        CommandError: there is no such file, or it is no image.
    """
    if not path.exists():  # OpenCV would print a warning of its own
        raise CommandError(f"'{path}' does not exist")
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if read is None:
        raise CommandError(f"'{path}' is not an image that can be read")
    return read.astype(np.uint8, copy=False)


def draw_bgr(pipeline: Pipeline, bgr: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Draw a result over its image, (H, W, 3), both BGR as OpenCV has them."""
    overlay = pipeline.overlay(np.ascontiguousarray(bgr[..., ::-1]), result)
    return np.ascontiguousarray(overlay[..., ::-1])


def write_image(path: Path, bgr: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) BGR to a file; CommandError if that cannot be."""
    try:
        written = cv2.imwrite(str(path), bgr)
    except cv2.error as error:
        raise CommandError(f"'{path}' cannot be written: use a .png or .jpg path") from error
    if not written:
        raise CommandError(f"'{path}' cannot be written: is the folder there and writable?")
