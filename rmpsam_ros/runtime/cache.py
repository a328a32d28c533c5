"""Keeps built engines on disk, and never trusts what it finds there without checking.

An entry is two files: the engine, and a JSON sidecar with the complete key it was built for and
the sha256 of the engine. Whatever is wrong with an entry (truncated, foreign, outdated, not
readable, folder not writable) costs one line and a new build, never an error.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Report = Callable[[str], None]

FORMAT = 1
MAX_PARTIAL_AGE = 86400.0  # seconds after which nobody writes a file any more
_PARTIAL = ".partial-"
MAX_ENTRIES = 24  # the least recently used ones beyond that are deleted


def default_folder() -> Path | None:
    """The folder that engines are kept in unless another one is given; None: there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The standard asks for relative paths to be ignored.
        base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "rmpsam_ros"


class EngineCache:
    """Engines on disk in one folder, shared by any number of processes.

    Engines are executable code for the library that loads them. Therefore the folder must belong
    to this user and be writable by nobody else; a new one is made with mode 0700.
    """

    def __init__(self, folder: Path | None, report: Report) -> None:
        """Use ``folder``, by default `default_folder`.

        Args:
            report: called with one line when something is wrong or takes long.
        """
        self._report = report
        chosen = folder or default_folder()
        self._folder = chosen or Path()
        if chosen is None:
            report(
                "there is no home folder to keep engines in: they are built at every start; set "
                "HOME or XDG_CACHE_HOME"
            )
        self._usable = chosen is not None and self._prepare_folder()

    def fetch(self, name: str, key: Mapping[str, Any], build: Callable[[], bytes]) -> bytes:
        """Return the engine for ``key``, from disk if it is there, else built and kept.

        While one process builds an entry, another that wants the same one waits for it.

        Args:
            name: start of the file name, for people.
            key: everything that the engine depends on, as JSON values.
            build: makes the engine; what it raises is passed on, and nothing is kept.
        """
        if not self._usable:
            return build()
        complete = _complete(key)
        path = self._path(name, complete)
        with self._locked(path):
            engine = self._read(path, complete)
            if engine is None:
                engine = build()
                self._write(path, complete, engine)
        return engine

    def peek(self, name: str, key: Mapping[str, Any]) -> bytes | None:
        """Return the entry for ``key`` if there is a good one on disk."""
        if not self._usable:
            return None
        complete = _complete(key)
        path = self._path(name, complete)
        with self._locked(path):
            return self._read(path, complete)

    def discard(self, name: str, key: Mapping[str, Any]) -> None:
        """Delete an entry that the library which executes it has refused."""
        if self._usable:
            with contextlib.suppress(OSError):
                _sidecar(self._path(name, _complete(key))).unlink(missing_ok=True)

    def _path(self, name: str, complete: Mapping[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(complete, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{name}-{digest[:16]}.engine"

    def _prepare_folder(self) -> bool:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._folder.stat()
        except OSError as error:
            self._report(f"engine cache '{self._folder}' cannot be used: {error.strerror}")
            return False
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            self._report(
                f"engine cache '{self._folder}' is not used: it must belong to this user and be "
                "writable by nobody else (chmod go-w)"
            )
            return False
        return True

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Hold the lock of an entry; without one if the folder is read-only."""
        try:
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield
            return
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._report(f"waiting for another process that builds '{path.name}'")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _read(self, path: Path, key: Mapping[str, Any]) -> bytes | None:
        """Return a good engine, None if there is none; reports one that is not good."""
        try:
            description = json.loads(_sidecar(path).read_bytes())
            engine = path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._report(f"cached engine '{path.name}' cannot be read, building anew: {error}")
            return None
        if not isinstance(description, dict) or description.get("key") != key:
            reason = "was built for something else"
        elif description.get("sha256") != hashlib.sha256(engine).hexdigest():
            reason = "is damaged"
        else:
            with contextlib.suppress(OSError):
                os.utime(path)
            return engine
        self._report(f"cached engine '{path.name}' {reason}, building anew")
        return None

    def _write(self, path: Path, key: Mapping[str, Any], engine: bytes) -> None:
        description = {"key": dict(key), "sha256": hashlib.sha256(engine).hexdigest()}
        try:
            # Without its old sidecar a half written entry is no entry.
            _sidecar(path).unlink(missing_ok=True)
            _write_atomically(path, engine)
            _write_atomically(_sidecar(path), json.dumps(description, indent=1).encode())
            self._prune()
        except OSError as error:
            self._report(
                f"engine cache '{self._folder}' cannot be written ({error.strerror}): the engine "
                "is built again at every start"
            )

    def _prune(self) -> None:
        for path in self._folder.glob(f"{_PARTIAL}*"):  # of processes that were killed
            if time.time() - path.stat().st_mtime > MAX_PARTIAL_AGE:
                path.unlink(missing_ok=True)
        entries = sorted(self._folder.glob("*.engine"), key=lambda path: path.stat().st_mtime)
        for path in entries[:-MAX_ENTRIES]:
            for file in (_sidecar(path), path, path.with_suffix(".lock")):
                file.unlink(missing_ok=True)


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _complete(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return a key as it comes back from a sidecar: JSON has lists where Python has tuples."""
    complete: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **key}))
    return complete


def _write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by a complete new file of mode 0600, or leave it as it was."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
