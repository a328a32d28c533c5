"""One rule for everything that sub-commands write: nothing is replaced unless that is asked for.

Checked before any work is done, because the work takes long.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rmpsam_ros.cli.errors import CommandError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Declare ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def check_output(path: Path, overwrite: bool, suffixes: Sequence[str] = ()) -> None:
    """Raise CommandError unless a file can be written.

    Args:
        overwrite: whether one that is there may be replaced.
        suffixes: that it may have; empty: any.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        wanted = ", ".join(suffixes)
        raise CommandError(f"output '{path}' has no suffix of {wanted}; name one that has")
    folder = path.absolute().parent
    if path.is_dir():
        raise CommandError(f"output '{path}' is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise CommandError(f"output '{path}' exists already; name another one, or --overwrite")
    if not folder.is_dir():
        raise CommandError(f"the folder of output '{path}' does not exist; make it first")
    if not os.access(folder, os.W_OK) or not _takes_files(folder):
        raise CommandError(f"output '{path}' cannot be written: its folder takes no files")


def _takes_files(folder: Path) -> bool:
    """Tell whether a folder of this kind of file system takes files; /proc, for one, does not."""
    probe = folder / f".rmpsam-{os.getpid()}.partial"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError:
        return False
    return True
