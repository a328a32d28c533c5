"""Whether a file with weights is the one that the table lists, and what its licence is."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rmpsam_ros.weights_store.fetch import recorded_sha256, sha256_of
from rmpsam_ros.weights_store.table import WeightsEntry, WeightsError, load_table

UNKNOWN_LICENCE = "unknown; ask whoever made the file"


def entry_of(path: Path) -> WeightsEntry | None:
    """Return what the table says of the file at a path; None: it lists none there."""
    for entry in load_table().values():
        with contextlib.suppress(OSError, WeightsError):
            if entry.path.resolve() == path.resolve():
                return entry
    return None


def verify_listed(path: Path) -> None:
    """Do nothing for a file that is as the table lists it, or as it came, or that is not listed.

    Raises:
        WeightsError: it is another one: damaged, or replaced.
    """
    entry = entry_of(path)
    if entry is None:
        return
    expected = entry.sha256 or recorded_sha256(path)
    if not expected:
        return
    found = sha256_of(path)
    if found == expected:
        return
    if entry.packaged:
        remedy = "install the package again, or give the path of a copy elsewhere as weights"
    else:
        remedy = f"rmpsam weights fetch {entry.name}"
    raise WeightsError(
        f"'{path}' is damaged or was replaced: sha256 {found} instead of {expected}; {remedy}"
    )


def licence_of(path: Path) -> str:
    """Return the licence of a file with weights, for people."""
    entry = entry_of(path)
    return UNKNOWN_LICENCE if entry is None else entry.licence
