"""Sub-command ``fleet``: many recordings, on this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from rmpsam_ros.cli.bag import (
    add_processing_options,
    bag_options,
    needed_packages,
    stopped_by_signals,
)
from rmpsam_ros.cli.errors import CommandError

if TYPE_CHECKING:
    from rmpsam_ros.recordings.fleet.places import Source


MIN_PATIENCE = 5.0  # s; workers give a sign of life once a second at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    add = parser.add_argument
    add(
        "addresses",
        nargs="+",
        metavar="SOURCE... OUT",
        help="recordings, or folders with recordings, and the folder of the results; each may be "
        "an address that fsspec opens, like s3://bucket/drives",
    )
    add_processing_options(parser)
    add(
        "--workers",
        type=int,
        default=0,
        help="how many recordings at the same time (default: one per GPU; without any, 1, and on "
        "Ray as many as the cluster has cores)",
    )
    add(
        "--ray",
        default="",
        metavar="auto|ADDRESS",
        help="let actors of a Ray cluster work; sources and results must be reachable from there",
    )
    add(
        "--patience",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="replace a worker that finishes no image for so long (default: %(default)g)",
    )
    add("--resume", action="store_true", help="go on with the manifest that is in OUT")
    parser.set_defaults(run=run_fleet)


def run_fleet(options: argparse.Namespace) -> None:
    """Process the recordings of a fleet."""
    with needed_packages(), stopped_by_signals():
        _run(options)


def _run(options: argparse.Namespace) -> None:
    from rmpsam_ros.recordings.errors import RecordingError
    from rmpsam_ros.recordings.fleet.run import run_fleet as run

    if len(options.addresses) < 2:
        raise CommandError("expected at least one source and the folder of the results")
    if options.workers < 0:
        raise CommandError(f"--workers is {options.workers}; expected 0 or more")
    if not options.patience >= MIN_PATIENCE:  # NaN, too
        raise CommandError(
            f"--patience is {options.patience:g}; expected {MIN_PATIENCE:g} seconds or more"
        )
    *sources, output = options.addresses
    with tqdm(unit="recording") as bar:

        def begin(number: int) -> None:
            bar.total = number
            bar.refresh()

        def progress(source: Source, entry: dict[str, Any]) -> None:
            bar.update()
            if entry["state"] != "done":
                bar.write(f"{source.name}: {entry['state']}: {entry['reason']}", file=sys.stderr)

        try:
            manifest = run(
                sources,
                output,
                bag_options(options),
                options.workers,
                options.ray,
                options.resume,
                options.patience,
                begin,
                progress,
            )
        except RecordingError as error:
            raise CommandError(str(error)) from error
    counts = manifest.counts()
    frames = sum(entry.get("frames", 0) for entry in manifest.recordings.values())
    print(
        f"{output}: {counts['done']} recordings done with {frames} frames, "
        f"{counts['refused']} refused, {counts['failed']} failed; see manifest.json"
    )
    if counts["refused"] or counts["failed"]:
        raise CommandError("not every recording could be processed")
