"""Sub-commands that segment files: ``image`` and ``video``."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rmpsam_ros.pipeline import (
    FrameResult,
    Pipeline,
    PipelineConfig,
    PipelineError,
    create_pipeline,
)
from rmpsam_ros.runtime import ModelConfig


class CommandError(RuntimeError):
    """A sub-command cannot do what was asked; the message is one line for the terminal."""


def add_parsers(subparsers: Any) -> None:
    """Add ``image`` and ``video`` to the sub-commands of ``rmpsam``."""
    for name, run, text in (
        ("image", run_image, "segment one picture and write it with the result drawn over it"),
        ("video", run_video, "segment and track a video and write it with the result drawn over"),
    ):
        parser = subparsers.add_parser(name, help=text, description=text)
        parser.add_argument("input", type=Path)
        parser.add_argument("output", type=Path)
        _add_model_options(parser)
        parser.set_defaults(run=run)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    network, pipeline = ModelConfig(), PipelineConfig()
    add = parser.add_argument
    add("--model", default=network.model, help="network configuration (default: %(default)s)")
    add("--weights", default="", help="checkpoint; without one the weights are random")
    add("--text-embeddings", default="", help="class table that belongs to the weights")
    add("--labels", default=pipeline.labels, help="label set or file (default: %(default)s)")
    add("--engine", default=network.engine, help="default: %(default)s")
    add("--device", default=network.device, help="auto, cpu, cuda, cuda:N (default: %(default)s)")
    add("--long-side", type=int, default=pipeline.long_side, help="default: %(default)s pixels")
    add("--short-side", type=int, default=pipeline.short_side, help="default: %(default)s pixels")


def _pipeline(options: argparse.Namespace) -> Pipeline:
    config = PipelineConfig(
        network=ModelConfig(
            model=options.model,
            weights=options.weights,
            text_embeddings=options.text_embeddings,
            engine=options.engine,
            device=options.device,
        ),
        labels=options.labels,
        long_side=options.long_side,
        short_side=options.short_side,
    )
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
    pipeline = _pipeline(options)
    result = pipeline.process(image, 0.0, "bgr")
    _write_image(options.output, _overlay(pipeline, image, result))
    for segment in result.panoptic.segments:
        name = pipeline.label_set.labels[segment.class_id].name
        print(f"{name:24s} {segment.score:.2f}  {segment.area:8d} px  box {segment.box}")
    print(f"wrote {options.output}")


def run_video(options: argparse.Namespace) -> None:
    """Segment and track ``options.input`` and write the overlay to ``options.output``."""
    capture = cv2.VideoCapture(str(options.input))
    if not capture.isOpened():
        raise CommandError(f"'{options.input}' is not a video that can be read")
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    pipeline = _pipeline(options)
    size = (
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )
    writer = cv2.VideoWriter(str(options.output), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    if not writer.isOpened():
        raise CommandError(f"'{options.output}' cannot be written; use a writable .mp4 path")
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    ids: set[int] = set()
    for index, frame in enumerate(tqdm(_frames(capture), total=total, unit="frame")):
        result = pipeline.process(frame, index / rate, "bgr")
        ids.update(result.track_masks)
        writer.write(_overlay(pipeline, frame, result))
    writer.release()
    capture.release()
    print(f"wrote {options.output}: {len(ids)} tracks")


def _frames(capture: cv2.VideoCapture) -> Iterator[NDArray[np.uint8]]:
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield frame.astype(np.uint8, copy=False)


def _overlay(
    pipeline: Pipeline, bgr: NDArray[np.uint8], result: FrameResult
) -> NDArray[np.uint8]:
    overlay = pipeline.overlay(np.ascontiguousarray(bgr[..., ::-1]), result)
    return np.ascontiguousarray(overlay[..., ::-1])


def _write_image(path: Path, bgr: NDArray[np.uint8]) -> None:
    try:
        written = cv2.imwrite(str(path), bgr)
    except cv2.error as error:
        raise CommandError(f"'{path}' cannot be written: use a .png or .jpg path") from error
    if not written:
        raise CommandError(f"'{path}' cannot be written: is the folder there and writable?")
