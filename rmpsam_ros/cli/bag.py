"""Sub-command ``bag``: recordings in, recordings with results out."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from rmpsam_ros.cli.errors import CommandError

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline
    from rmpsam_ros.recordings.bag import BagOptions, BagReport

MAX_CHANGES = 200  # that are printed
NOT_INSTALLED = "is not installed: pip install 'rmpsam_ros[bag]', or pip install rosbags mcap"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    add = parser.add_argument
    add(
        "paths",
        type=Path,
        nargs="+",
        metavar="IN OUT",
        help="a recording (rosbag2 folder, .mcap, .db3, or ROS 1 .bag) and the folder to write; "
        "of several recordings each gets a folder of its name in OUT",
    )
    add_processing_options(parser)
    add(
        "--compare",
        action="store_true",
        help="instead: compare two results, IN and OUT, frame by frame; ends with 1 when more "
        "changed than --allow says",
    )
    add(
        "--min-iou",
        type=float,
        default=0.99,
        help="with --compare: masks that overlap less count as changed (default: %(default)s)",
    )
    add(
        "--allow",
        action="append",
        default=[],
        metavar="KIND=N",
        help="with --compare: how many changes of a kind are no failure (default: none); kinds: "
        "frames, counts, ids, classes, masks; may be repeated",
    )
    add("--overwrite", action="store_true", help="replace results that are there")
    add("--resume", action="store_true", help="leave results that are there, go on with the next")
    parser.set_defaults(run=run_bag)


def add_processing_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how a recording is processed."""
    add = parser.add_argument
    add("--params", type=Path, help="parameter file of the node, as config/rmpsam.yaml")
    add(
        "-p",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="one parameter of the node; may be repeated",
    )
    add(
        "--camera",
        action="append",
        default=[],
        metavar="[NAME=]TOPIC",
        help="images to be processed; may be repeated (default: all colour images)",
    )
    add(
        "--depth",
        action="append",
        default=[],
        metavar="[NAME=]TOPIC",
        help="aligned depth images of a camera, for positions",
    )
    add(
        "--results",
        default="panoptic,tracks,prompts,positions",
        help="of panoptic, tracks, prompts, semantic, instance, overlay, positions, separated by "
        "commas (default: %(default)s)",
    )
    add(
        "--copy",
        action="append",
        default=[],
        metavar="PATTERN",
        help="further topics to be copied; may be repeated, * stands for anything (always: "
        "transforms and the cameras' calibrations)",
    )
    add("--prompts", type=Path, help="YAML or JSON file of prompts; see docs/recordings.md")
    add("--storage", default="mcap", choices=("mcap", "sqlite3"), help="default: %(default)s")
    add(
        "--export",
        default="",
        choices=("coco", "coco_panoptic", "youtube_vis"),
        help="write a labelled data set for rmpsam train instead of a recording",
    )
    add("--every", type=int, default=1, help="with --export: every so many frames (default: 1)")
    add(
        "--on-change",
        action="store_true",
        help="with --export: only frames in which other tracks are seen than in the one before",
    )
    add("--contact-sheet", action="store_true", help="add an image with some frames")


def run_bag(options: argparse.Namespace) -> None:
    """Process recordings, or compare two results."""
    with needed_packages(), stopped_by_signals():
        if options.compare:
            _compare(options)
        else:
            _process(options)


def _compare(options: argparse.Namespace) -> None:
    from rmpsam_ros.recordings.compare import compare
    from rmpsam_ros.recordings.errors import RecordingError

    if len(options.paths) != 2:
        raise CommandError(f"--compare takes two results, got {len(options.paths)}")
    first, second = options.paths
    limits = _limits(options.allow)
    try:
        found = compare(first, second, options.min_iou)
    except RecordingError as error:
        raise CommandError(str(error)) from error
    for change in found.changes[:MAX_CHANGES]:
        print(f"{change.kind:8s} {change}")
    if len(found.changes) > MAX_CHANGES:
        print(f"... and {len(found.changes) - MAX_CHANGES} more")
    print(found.summary())
    if beyond := found.beyond(limits):
        raise CommandError(f"the results differ: more {', '.join(beyond)} than allowed")


def _limits(texts: list[str]) -> dict[str, int]:
    from rmpsam_ros.recordings.compare import KINDS

    limits = {}
    for text in texts:
        kind, _, number = text.partition("=")
        if kind not in KINDS or not number.isdecimal():
            raise CommandError(f"--allow {text}: expected KIND=N with {', '.join(KINDS)}")
        limits[kind] = int(number)
    return limits


def _process(options: argparse.Namespace) -> None:
    from rmpsam_ros.recordings.errors import RecordingError

    if len(options.paths) < 2:
        raise CommandError("expected a recording and the folder to write")
    *sources, output = options.paths
    targets = _targets(sources, output)
    try:
        work = bag_options(options)
        waiting = [target for target in targets if not _is_done(target, options, work)]
        if not waiting:
            return
        pipeline = make_pipeline(work)
    except RecordingError as error:
        raise CommandError(str(error)) from error
    refused = 0
    for source, target in waiting:
        try:
            report = _process_one(source, target, pipeline, work, options.overwrite)
        except RecordingError as error:
            refused += 1
            if len(targets) == 1:
                raise CommandError(str(error)) from error
            print(f"rmpsam bag: {error}", file=sys.stderr)
        else:
            tell(report, target)
    if refused:
        raise CommandError(f"{refused} of {len(targets)} recordings were refused")


def _targets(sources: list[Path], output: Path) -> list[tuple[Path, Path]]:
    if len(sources) == 1:
        return [(sources[0], output)]
    targets = [(source, output / (source.stem or source.resolve().name)) for source in sources]
    if len({target for _, target in targets}) < len(targets):
        raise CommandError("two recordings have the same name; process them one by one")
    return targets


def _is_done(paths: tuple[Path, Path], options: argparse.Namespace, work: BagOptions) -> bool:
    from rmpsam_ros.recordings.bag import is_result_of

    source, target = paths
    if not options.resume or not is_result_of(target, source, work):
        return False
    print(f"'{target}' is there")
    return True


def _process_one(
    source: Path, target: Path, pipeline: Pipeline, work: BagOptions, overwrite: bool
) -> BagReport:
    from rmpsam_ros.recordings.bag import process_bag

    with tqdm(unit="frame", desc=source.name) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return process_bag(source, target, pipeline, work, overwrite, show)


def bag_options(options: argparse.Namespace) -> BagOptions:
    """Return what the options say about processing.

    Raises:
        RecordingError: a parameter is not accepted.
        CommandError: a result does not exist.
    """
    from rmpsam_ros.recordings.bag import BagOptions
    from rmpsam_ros.recordings.result_topics import RESULTS
    from rmpsam_ros.recordings.settings import read_settings

    values, unknown = read_settings(options.params, options.parameters)
    for line in unknown:
        print(f"rmpsam: {line}", file=sys.stderr)
    results = tuple(name.strip() for name in options.results.split(",") if name.strip())
    for name in results:
        if name not in RESULTS:
            raise CommandError(f"result '{name}' does not exist; expected {', '.join(RESULTS)}")
    if options.every < 1:
        raise CommandError(f"--every is {options.every}; expected at least 1")
    depth = {}
    for text in options.depth:
        name, _, topic = text.rpartition("=")
        depth[name] = topic
    return BagOptions(
        values,
        cameras=tuple(options.camera),
        depth=depth,
        results=results,
        copied=tuple(options.copy),
        prompts=str(options.prompts or ""),
        storage=options.storage,
        contact_sheet=options.contact_sheet,
        export=options.export,
        every=options.every,
        on_change=options.on_change,
    )


def make_pipeline(work: BagOptions) -> Pipeline:
    """Load the network that the parameters choose.

    Raises:
        CommandError: it cannot be made.
    """
    from rmpsam_ros.pipeline import PipelineError, create_pipeline
    from rmpsam_ros.recordings.settings import config_of

    config = config_of(work.values, with_prompts=bool(work.prompts))
    try:
        pipeline = create_pipeline(config, lambda line: print(line, flush=True))
    except PipelineError as error:
        raise CommandError(str(error)) from error
    print(f"running {pipeline.engine_info}", flush=True)
    return pipeline


def tell(report: BagReport, target: Path) -> None:
    """Print what became of a recording."""
    for line in report.losses():
        print(f"rmpsam bag: {line}", file=sys.stderr)
    rate = report.frames / report.seconds if report.seconds else 0.0
    print(
        f"wrote {target}: {report.frames} frames, {report.failed} not processed, {report.tracks} "
        f"tracks; {rate:.1f} frames per second"
    )


@contextmanager
def needed_packages() -> Iterator[None]:
    """Turn a missing package of an extra into one line; prepare the process for the others."""
    from rmpsam_ros.recordings import ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("rosbags", "mcap", "ray", "fsspec"):
            raise
        raise CommandError(f"{package} {NOT_INSTALLED}") from error


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: what is not complete is removed."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
