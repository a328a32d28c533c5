"""What Fast DDS left in shared memory when its processes were killed, and whether there is room.

A segment lies in ``/dev/shm`` beside a lock file that its owner holds as long as it lives. Nothing
is deleted here: the files may be those of another user's experiment.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/dev/shm")
ROOM = 100_000_000  # bytes: two programs with images, and some more
_SEGMENT = re.compile(r"fast(rtps|dds)_[0-9a-f]{8,}$")
_LOCK = "_el"
_MIN_AGE = 10.0  # seconds: one that is just being made is not locked yet
_REMEDY = "fastdds shm clean frees it"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Segments whose owners are gone: how many, and their bytes."""

    number: int
    size: int


def leftovers(folder: Path = FOLDER) -> Leftovers:
    """Return what killed processes left behind."""
    number = size = 0
    try:
        names = os.listdir(folder)
    except OSError:
        return Leftovers(0, 0)
    for name in names:
        if not _SEGMENT.match(name):
            continue
        path = folder / name
        try:
            status = path.stat()
            if time.time() - status.st_mtime > _MIN_AGE and _is_free(folder / f"{name}{_LOCK}"):
                number, size = number + 1, size + status.st_size
        except OSError:  # it has just gone, or belongs to somebody else
            continue
    return Leftovers(number, size)


def problems(folder: Path = FOLDER) -> list[str]:
    """Return a line for what is left behind, and one if there is little room for images."""
    if "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return []
    lines = []
    left = leftovers(folder)
    if left.number:
        lines.append(
            f"{left.number} segments of killed processes take {left.size / 1e6:.0f} MB of "
            f"{folder}: {_REMEDY}"
        )
    try:
        room = os.statvfs(folder)
    except OSError:
        return lines
    free = room.f_bavail * room.f_frsize
    if free < ROOM:
        lines.append(
            f"{folder} has room for {free / 1e6:.0f} MB: large images may be lost. In a "
            "container: docker run --shm-size=256m"
        )
    return lines


def _is_free(lock: Path) -> bool:
    """Tell whether nobody holds a lock file."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
