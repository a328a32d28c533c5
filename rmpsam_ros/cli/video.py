"""Sub-command ``video`` of ``rmpsam``."""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rmpsam_ros.cli.common import add_model_options, draw_bgr, make_pipeline
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.outputs import add_overwrite
from rmpsam_ros.pipeline import Pipeline, PipelineConfig, PromptingConfig, StageTimes
from rmpsam_ros.prompting import PROMPT_ENGINES
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.coco_run_length import decode_coco
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.prompt_overlay import draw_prompted
from rmpsam_ros.segmentation.prompt_types import PromptError, validate_prompt
from rmpsam_ros.segmentation.run_length import encode_mask
from rmpsam_ros.tracking import clip_size_for
from rmpsam_ros.video.frame_sources import FrameSource, SourceError, open_source
from rmpsam_ros.video.near_online import LengthError, check_length, near_online_results
from rmpsam_ros.video.overlay_file import OutputError, VideoFile, check_output, video_file
from rmpsam_ros.video.video_prompts import FollowedObjects, TimedPrompt, parse_prompt
from rmpsam_ros.video.vis_results import VisResults

Report: TypeAlias = Callable[[float], None]  # prints; takes the seconds that all took

FAILURES = (
    OutputError,
    SourceError,
    PromptError,
    LengthError,
    EngineError,
    FloatingPointError,
    OSError,
)
DEFAULT_PROMPT_ENGINE = "mobile_sam"  # its weights are in the package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    add = parser.add_argument
    add("input", help="video file, or folder of images in the order of their names")
    add("output", type=Path, help=".mp4 file; a .json file of the same name comes beside it")
    add_model_options(parser)
    fusion = PipelineConfig().fusion
    add(
        "--clip-frames",
        type=int,
        default=1,
        help="1: every frame alone; more: clips of the newest so many frames (default: 1)",
    )
    add(
        "--score",
        type=float,
        default=fusion.score_threshold,
        help="class probability of a segment, at least (default: %(default)s)",
    )
    add(
        "--near-online",
        action="store_true",
        help="results by the paper's procedure for whole videos: clips of 5 (or --clip-frames) "
        "without overlap, no tracker; --score then only says what is drawn",
    )
    add("--rate", type=float, help="frames per second (default: of the video; 10 for a folder)")
    add("--video-id", type=int, default=1, help="video_id in the results (default: %(default)s)")
    add(
        "--prompt",
        type=_timed_prompt,
        action="append",
        default=[],
        metavar="X,Y[,X2,Y2][@T]",
        help="click or box, in pixels, at T seconds (default: 0): that object is followed, too; "
        "may be repeated; masks come in a second file, _prompted.json",
    )
    add(
        "--prompt-engine",
        default=DEFAULT_PROMPT_ENGINE,
        choices=PROMPT_ENGINES,
        help="default: %(default)s",
    )
    add("--prompt-weights", default="", help="default: those in the package")
    add_overwrite(parser)
    parser.set_defaults(run=run_video)


def _timed_prompt(text: str) -> TimedPrompt:
    """`parse_prompt`, with its own words where argparse would find others."""
    try:
        return parse_prompt(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run_video(options: argparse.Namespace) -> None:
    """Segment and track ``options.input``, write overlay and results, and print a summary."""
    started = time.perf_counter()
    try:
        source = _open(options)
        outputs = _outputs(options)
        for path in outputs[1:]:
            check_output(path, ".json", options.overwrite)
        rate = options.rate or source.rate
        with video_file(outputs[0], rate, options.overwrite) as file:
            if options.near_online:
                report = _near_online(source, file, outputs, options)
            else:
                report = _live(source, file, outputs, rate, options)
        source.close()
    except FAILURES as e:
        raise CommandError(" ".join(str(e).split())) from e
    report(time.perf_counter() - started)


def _live(
    source: FrameSource,
    file: VideoFile,
    outputs: list[Path],
    rate: float,
    options: argparse.Namespace,
) -> Report:
    """Run the live pipeline over the video, and write everything."""
    frames = _frames(source)
    first = next(frames)
    for timed in options.prompt:
        validate_prompt(timed.prompt, first.shape[:2])
    if source.length is not None:
        _check_times(options.prompt, (source.length - 1) / rate)
    pipeline = _pipeline(options, options.clip_frames)
    run = _Run(pipeline, file, options)
    chained = itertools.chain([first], frames)
    for index, frame in enumerate(tqdm(chained, total=source.length, unit="frame")):
        run.add(frame, index / rate)
    file.finish()
    run.write(outputs)
    _check_times(run.waiting, (len(run) - 1) / rate)  # again: the length was not known
    return functools.partial(run.report, outputs)


def _check_times(prompts: list[TimedPrompt], end: float) -> None:
    """Raise PromptError for prompts that no frame comes for; a script must notice it."""
    late = [timed.text for timed in prompts if timed.time > end]
    if late:
        raise PromptError(
            f"prompt {', '.join(late)}: the video ends before it, its last frame is at {end:.2f} s"
        )


def _near_online(
    source: FrameSource, file: VideoFile, outputs: list[Path], options: argparse.Namespace
) -> Report:
    """Segment the whole video by the paper's procedure, and write everything."""
    if options.prompt:
        raise PromptError("--prompt is for the live pipeline; leave --near-online out")
    num_frames = sum(1 for _ in _frames(source))
    check_length(num_frames)
    clip_size = options.clip_frames if options.clip_frames > 1 else clip_size_for(num_frames)
    pipeline = _pipeline(options, clip_size)
    entries = near_online_results(
        pipeline.engine,
        lambda: tqdm(_frames(source), total=num_frames, unit="frame"),
        num_frames,
        (options.long_side, options.short_side),
        pipeline.label_set,
        clip_size,
        options.video_id,
    )
    drawn = [entry for entry in entries if entry["score"] >= options.score]
    for index, frame in enumerate(_frames(source)):
        file.write(_draw_entries(frame, drawn, index, pipeline.label_set))
    file.finish()
    _write_json(outputs[1], entries)

    def report(seconds: float) -> None:
        print(f"wrote {outputs[0]} and {outputs[1]}: {num_frames} frames, {len(entries)} tracks")
        print(f"{num_frames / seconds:.1f} frames per second, with loading, drawing and writing")

    return report


def _draw_entries(
    bgr: NDArray[np.uint8], entries: list[dict[str, Any]], index: int, label_set: LabelSet
) -> NDArray[np.uint8]:
    """Draw the masks of frame ``index``, with class and place in the list."""
    canvas = np.ascontiguousarray(bgr[..., ::-1])
    objects = []
    for k, entry in enumerate(entries, start=1):
        mask = entry["segmentations"][index]
        if mask is not None:
            name = label_set.labels[entry["category_id"] - 1].name
            objects.append((f"{name} {k}", encode_mask(decode_coco(mask)), True))
    draw_prompted(canvas, objects)
    return np.ascontiguousarray(canvas[..., ::-1])


class _Run:
    """One video on its way through the pipeline."""

    def __init__(self, pipeline: Pipeline, file: VideoFile, options: argparse.Namespace) -> None:
        self._pipeline = pipeline
        self._file = file
        self._tracks = VisResults(options.video_id)
        self._objects = FollowedObjects(list(options.prompt))
        self._times: list[StageTimes] = []

    def add(self, frame: NDArray[np.uint8], stamp: float) -> None:
        result = self._pipeline.process(frame, stamp, "bgr")
        result = replace(result, prompted=self._objects.add(self._pipeline, result))
        self._tracks.add(result)
        self._times.append(result.times)
        self._file.write(draw_bgr(self._pipeline, frame, result))

    def __len__(self) -> int:
        return len(self._times)

    @property
    def waiting(self) -> list[TimedPrompt]:
        """Prompts whose time has not come."""
        return self._objects.waiting

    def write(self, outputs: list[Path]) -> None:
        contents = (self._tracks.to_json(), self._objects.to_json())
        for path, content in zip(outputs[1:], contents, strict=False):
            _write_json(path, content)

    def report(self, outputs: list[Path], seconds: float) -> None:
        names = " and ".join(str(path) for path in outputs)
        print(f"wrote {names}: {len(self._times)} frames, {len(self._tracks.to_json())} tracks")
        for line in self._objects.summary():
            print(line)
        print(
            f"{len(self._times) / seconds:.1f} frames per second with reading, drawing and "
            "writing; pipeline, median (99th percentile) in ms:"
        )
        for stage in ("preprocess", "inference", "postprocess"):
            times = [1e3 * getattr(frame, stage) for frame in self._times]
            print(f"  {stage:12s} {np.median(times):8.1f} ({np.percentile(times, 99):.1f})")


def _write_json(path: Path, content: list[dict[str, Any]]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content) + "\n")
    os.replace(partial, path)


def _open(options: argparse.Namespace) -> FrameSource:
    path = Path(options.input).expanduser()
    if not (path.is_file() or path.is_dir()):
        raise SourceError(f"'{options.input}' is neither a video file nor a folder of images")
    if options.rate is not None and not 0.0 < options.rate <= 1000.0:
        raise SourceError(f"rate is {options.rate:g}; expected frames per second, up to 1000")
    return open_source(str(path))


def _outputs(options: argparse.Namespace) -> list[Path]:
    """Return the files to write: overlay, tracks, and prompted objects if there are any."""
    path: Path = options.output
    outputs = [path, path.with_suffix(".json")]
    if options.prompt:
        outputs.append(path.with_name(f"{path.stem}_prompted.json"))
    return outputs


def _frames(source: FrameSource) -> Iterator[NDArray[np.uint8]]:
    """Yield all frames; one of another size than the first raises SourceError."""
    size: tuple[int, ...] | None = None
    for index, frame in enumerate(source.frames()):
        size = size or frame.shape
        if frame.shape != size:
            raise SourceError(
                f"frame {index} is {frame.shape[1]} x {frame.shape[0]} pixels, the first "
                f"{size[1]} x {size[0]}; expected one size in a video"
            )
        yield frame


def _pipeline(options: argparse.Namespace, clip_frames: int) -> Pipeline:
    prompting = PromptingConfig()  # of the network itself: nothing to be loaded
    try:
        fusion = replace(PipelineConfig().fusion, score_threshold=options.score)
        if options.prompt:
            prompting = PromptingConfig(
                engine=options.prompt_engine,
                weights=options.prompt_weights,
                prompt_rate=0.0,  # in every frame
                max_objects=len(options.prompt),
            )
    except ValueError as error:
        raise CommandError(str(error)) from error
    return make_pipeline(options, clip_frames, fusion=fusion, prompting=prompting)
