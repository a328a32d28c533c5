"""Results that appear whole or not at all, whatever ends the process."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rmpsam_ros.recordings.errors import RecordingError

REPORT = "rmpsam.json"  # in every result: what it is of
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class OutputFolder:
    """A folder that is written beside its place and moved there when it is complete.

    A context that gives the folder to write into; what raises inside leaves what was there before.
    The folder ``.NAME.partial`` beside it exists while one process writes and is locked by it;
    what a killed process left there is removed by the next one.

    Args:
        overwrite: whether a folder that exists is replaced at the end.

    Raises:
        RecordingError: the place is taken, another process writes there, or it cannot be written.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        # With the name of the result, because rosbag2 names its files after their folder.
        self._path = path.parent.resolve() / path.name
        self._overwrite = overwrite
        self._partial = self._path.with_name(f".{self._path.name}.partial")
        self._new, self._old = self._partial / self._path.name, self._partial / "replaced"
        self._lock = -1

    def __enter__(self) -> Path:
        """Take the place, and return the folder to write into, which does not exist yet."""
        if not self._path.name:
            raise RecordingError(f"'{self._path}' is no place for a result")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._take()
        except OSError as error:
            raise RecordingError(f"'{self._path}' cannot be written: {error.strerror}") from error
        try:
            self._clear()
        except BaseException:
            self._release()
            raise
        return self._new

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Move the folder to its place, or remove it; say it in one line if a disk is full."""
        try:
            if error is None:
                self._commit()
        except OSError as late:
            error = late
        finally:
            with suppress(OSError):
                shutil.rmtree(self._new, ignore_errors=True)
                shutil.rmtree(self._old, ignore_errors=True)
                self._partial.rmdir()
            self._release()
        if isinstance(error, OSError):
            raise RecordingError(write_problem(self._path, error)) from error

    def _take(self) -> None:
        """Make and lock the folder for what is not complete."""
        while True:
            self._partial.mkdir(exist_ok=True)
            try:
                lock = os.open(self._partial, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue  # another process has just finished and removed it
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(lock)
                raise RecordingError(
                    f"another process is writing '{self._path}'; wait for it or use another place"
                ) from error
            if self._is_at_its_place(lock):
                self._lock = lock
                return
            os.close(lock)

    def _is_at_its_place(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), self._partial.stat())
        except FileNotFoundError:
            return False

    def _clear(self) -> None:
        """Undo what a killed process left, and check that the place is free."""
        if self._old.exists() and not self._path.exists():
            os.rename(self._old, self._path)
        shutil.rmtree(self._new, ignore_errors=True)
        shutil.rmtree(self._old, ignore_errors=True)
        if not self._path.exists():
            return
        if self._overwrite and (self._path / REPORT).is_file():
            return
        with suppress(OSError):
            self._partial.rmdir()
        if self._overwrite:
            raise RecordingError(
                f"'{self._path}' is not replaced: it holds no {REPORT}, so it is no result"
            )
        raise RecordingError(
            f"'{self._path}' exists; use another place, --resume to keep it, or --overwrite"
        )

    def _commit(self) -> None:
        sync_tree(self._new)
        if self._path.exists():
            os.rename(self._path, self._old)
        os.rename(self._new, self._path)
        sync(self._path.parent)

    def _release(self) -> None:
        os.close(self._lock)


def write_problem(path: Path, error: OSError) -> str:
    """Say in one line why something cannot be written."""
    if error.errno in _FULL:
        return f"'{path}' cannot be written: no space left ({error.strerror})"
    return f"'{path}' cannot be written: {error.strerror or error}"


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one with other content; never by half of it."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync(path.parent)


def sync_tree(folder: Path) -> None:
    """Have the disk keep a folder with everything in it."""
    for base, _, files in os.walk(folder):
        for name in files:
            sync(Path(base, name))
        sync(Path(base))


def sync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
