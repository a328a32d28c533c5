"""Where recordings come from and results go to: folders, or any address that fsspec knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.output import REPORT
from rmpsam_ros.recordings.reading import SUFFIXES

METADATA = "metadata.yaml"
_CHANGES = ("mtime", "ETag", "etag", "LastModified", "last_modified", "md5Hash")


@dataclass(frozen=True)
class Source:
    """A recording somewhere.

    Attributes:
        name: path of its result below the output, unique among all.
        address: of the recording: a path, or what fsspec opens.
        fingerprint: changes when the files do.
    """

    name: str
    address: str
    fingerprint: str


def find_sources(addresses: Sequence[str]) -> tuple[Source, ...]:
    """Return all recordings at some addresses and below them, by name.

    A folder with a metadata.yaml is one recording; elsewhere every ``.mcap``, ``.db3`` and
    ``.bag`` file is one.

    Raises:
        RecordingError: an address cannot be looked at, or there is no recording.
    """
    found: dict[str, Source] = {}
    for address in addresses:
        for source in _below(address):
            known = found.setdefault(source.name, source)
            if known.address != source.address:
                raise RecordingError(
                    f"'{known.address}' and '{source.address}' would both have the result "
                    f"'{source.name}'; process them one after the other"
                )
    return tuple(found[name] for name in sorted(found))


def _below(address: str) -> Iterator[Source]:
    system, root = _open(address)
    try:
        files = system.find(root, detail=True)
    except Exception as error:  # of as many kinds as there are file systems
        raise RecordingError(f"'{address}' cannot be looked at: {error}") from error
    folders = {str(PurePosixPath(path).parent) for path in files if _name(path) == METADATA}
    members: dict[str, dict[str, Any]] = {}
    for path, info in sorted(files.items()):
        folder = str(PurePosixPath(path).parent)
        if folder in folders:
            members.setdefault(folder, {})[path] = info
        elif PurePosixPath(path).suffix in SUFFIXES:
            members[path] = {path: info}
    results = {str(PurePosixPath(path).parent) for path in files if _name(path) == REPORT}
    recordings = [path for path in members if path not in results]
    if not recordings:
        raise RecordingError(f"there is no recording at '{address}'")
    base = PurePosixPath(root)
    for path in recordings:
        place = PurePosixPath(path)
        name = place.relative_to(base) if place != base else PurePosixPath(place.name)
        if place.suffix in SUFFIXES and path not in folders:
            name = name.with_suffix("")
        yield Source(str(name), _address(system, path), _fingerprint(members[path], base))


def _fingerprint(files: dict[str, Any], base: PurePosixPath) -> str:
    content = [
        (str(PurePosixPath(path).name), info.get("size"), [str(info.get(k, "")) for k in _CHANGES])
        for path, info in sorted(files.items())
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@contextmanager
def local_copy(address: str) -> Iterator[Path]:
    """Give the path of a recording on this machine; what lies elsewhere is copied meanwhile."""
    system, path = _open(address)
    if isinstance(system, LocalFileSystem):
        yield Path(path)
        return
    with TemporaryDirectory(prefix="rmpsam_fleet_") as folder:
        target = Path(folder) / PurePosixPath(path).name
        try:
            system.get(path, str(target), recursive=True)
        except Exception as error:
            raise RecordingError(f"'{address}' cannot be copied: {error}") from error
        yield target


class Output:
    """Where results go to.

    Attributes:
        local: the folder, if it is one of this machine; else None.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._system, self._root = _open(address)
        self.local = Path(self._root) if isinstance(self._system, LocalFileSystem) else None

    def read(self, name: str) -> str | None:
        """Return the content of a file; None: there is none."""
        path = f"{self._root}/{name}"
        try:
            return str(self._system.cat_file(path).decode("utf-8"))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise RecordingError(f"'{self._address}/{name}' cannot be read: {error}") from error

    def write(self, name: str, text: str) -> None:
        """Write a file, at once."""
        from rmpsam_ros.recordings.output import write_atomically

        if self.local is not None:
            self.local.mkdir(parents=True, exist_ok=True)
            write_atomically(self.local / name, text)
            return
        try:
            self._system.pipe_file(f"{self._root}/{name}", text.encode("utf-8"))
        except Exception as error:
            raise RecordingError(f"'{self._address}/{name}' cannot be written: {error}") from error

    def put(self, folder: Path, name: str) -> None:
        """Copy a complete result to another machine, its report last: with it, it is complete."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        files.sort(key=lambda path: path.name == REPORT)
        target = f"{self._root}/{name}"
        try:
            if self._system.exists(target):
                self._system.rm(target, recursive=True)
            for path in files:
                inside = path.relative_to(folder).as_posix()
                self._system.makedirs(str(PurePosixPath(target, inside).parent), exist_ok=True)
                self._system.put_file(str(path), f"{target}/{inside}")
        except Exception as error:
            raise RecordingError(f"'{self._address}/{name}' cannot be written: {error}") from error


def _open(address: str) -> tuple[Any, str]:
    try:
        system, root = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise RecordingError(f"'{address}' is no address that can be used: {error}") from error
    return system, str(root).rstrip("/") or "/"


def _address(system: Any, path: str) -> str:
    if isinstance(system, LocalFileSystem):
        return path
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    return path if "://" in path else f"{protocol}://{path}"


def _name(path: str) -> str:
    return PurePosixPath(path).name
