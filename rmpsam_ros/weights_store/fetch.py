"""Downloads weights, and keeps a file only if all of it has come and is the right one."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from rmpsam_ros import __version__
from rmpsam_ros.weights_store.table import WeightsEntry, WeightsError

TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

Report = Callable[[str], None]


def fetch(entry: WeightsEntry, report: Report = lambda line: None) -> Path:
    """Download a file into the store, unless the right one is there, and return its path.

    A file whose sha256 the table does not know is kept with the one that it has beside it, so that
    a later change is noticed; whether it is the right one is for the user to compare.

    Args:
        report: called with lines for people.

    Raises:
        WeightsError: there is no address, the download failed, it is too short, too large or
            another file, or the store cannot be written. What was there before stays.
    """
    path = entry.path
    if entry.packaged:
        raise WeightsError(f"'{entry.name}' comes with the package: {path}")
    if path.is_file():
        expected = entry.sha256 or recorded_sha256(path)
        if expected and sha256_of(path) == expected:
            report(f"{path} is there already")
            return path
        report(f"{path} is not the file that is meant; it is replaced")
    if not entry.url:
        raise WeightsError(
            f"'{entry.name}' has no address that a program can use; it is from {entry.origin}. "
            f"Save it as {path}"
        )
    _check_address(entry.url)
    report(f"fetching {entry.url}")
    with _new_file(path) as (file, keep):
        found = _download(entry, file)
        if entry.sha256 and found != entry.sha256:
            raise WeightsError(
                f"{entry.url} gave another file than expected: sha256 {found} instead of "
                f"{entry.sha256}; it is not kept"
            )
        keep()
    _record(path, found)
    if not entry.sha256:
        report(
            f"sha256 {found} is not in the table: compare it with what the authors publish before "
            "you trust the file"
        )
    report(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB, {entry.licence})")
    return path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        WeightsError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise WeightsError(f"'{path}' cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def recorded_sha256(path: Path) -> str:
    """Return the sha256 that a fetched file had when it came; empty: not recorded."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        words = _record_path(path).read_text().split()
        return words[0] if words else ""
    return ""


def _record(path: Path, digest: str) -> None:
    try:
        _record_path(path).write_text(f"{digest}  {path.name}\n")
    except OSError as error:
        raise WeightsError(f"'{path.parent}' cannot be written: {error.strerror}") from error


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _check_address(url: str) -> None:
    """Raise unless an address is safe to take weights from."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise WeightsError(f"'{url}' is not used: only https is")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not away from https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(entry: WeightsEntry, file: BinaryIO) -> str:
    """Write what an address gives into a file and return its sha256."""
    limit = entry.max_megabytes * 1_000_000
    request = urllib.request.Request(
        entry.url, headers={"User-Agent": f"rmpsam_ros/{__version__}"}
    )
    opener = urllib.request.build_opener(_SafeRedirects)
    digest, received = hashlib.sha256(), 0
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            announced = answer.headers.get("Content-Length", "")
            if announced.isdigit() and int(announced) > limit:
                raise _too_large(entry)
            while chunk := answer.read(_CHUNK):
                received += len(chunk)
                if received > limit:
                    raise _too_large(entry)
                digest.update(chunk)
                file.write(chunk)
    except urllib.error.HTTPError as error:
        raise WeightsError(f"{entry.url} answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise WeightsError(f"{entry.url} is not reachable: {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise WeightsError(f"{entry.url} broke off after {received} bytes: {error!r}") from error
    if announced.isdigit() and received != int(announced):
        raise WeightsError(f"{entry.url} gave {received} of {announced} bytes; try again")
    if not received:
        raise WeightsError(f"{entry.url} gave an empty file")
    return digest.hexdigest()


def _too_large(entry: WeightsEntry) -> WeightsError:
    return WeightsError(
        f"{entry.url} gives more than {entry.max_megabytes} MB, which '{entry.name}' cannot have"
    )


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """Open a temporary file; calling what comes with it puts it in place, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    except OSError as error:
        raise WeightsError(f"'{path.parent}' cannot be written: {error.strerror}") from error

    def keep() -> None:
        file.flush()
        os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)

    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, keep
    except OSError as error:  # the disk is full
        raise WeightsError(f"'{path}' cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
