"""Reads files of `torch.save` without running what is in them, and without what they blow up to.

Below PyTorch 2.10 reading with ``weights_only=True`` is not safe: CVE-2025-32434 (before 2.6)
runs code of the file, CVE-2026-24747 damages memory. There such files are refused.
"""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SAFE_TORCH = (2, 10)
MAX_SWELLING = 1.5  # of the size of a file, when it is unpacked; torch.save does not compress


class UnsafeFileError(ValueError):
    """A file is not read, or cannot be; the message is one line."""


class _Inert:
    """Takes the place of every foreign object in a checkpoint; does nothing, keeps nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_pickle(path: str | os.PathLike[str], foreign: bool = False) -> Any:
    """Return what a file of `torch.save` holds: tensors and plain containers only.

    Args:
        foreign: take files with other objects in them, too (logs, optimiser state): their types
            are replaced by one that does nothing, by name, so that no foreign code is imported.

    Raises:
        UnsafeFileError: it is not to be read here, is not such a file, or would become much larger
            in memory than it is.
    """
    path = Path(path)
    _check_version(path)
    _check_size(path)
    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            if not foreign:
                raise
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            with torch.serialization.safe_globals([(_Inert, name) for name in names]):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways inside torch.load
        raise UnsafeFileError(
            f"{path} cannot be read as a checkpoint of plain tensors: {_reason(error)}"
        ) from error
    _check_tensors(content, path)
    return content


def _check_version(path: Path) -> None:
    digits = re.findall(r"\d+", str(torch.__version__))
    version = tuple(int(number) for number in digits[:2])
    if version < SAFE_TORCH:
        needed = ".".join(map(str, SAFE_TORCH))
        raise UnsafeFileError(
            f"{path} is not read by PyTorch {torch.__version__}: below {needed} such a file can "
            "run code or damage memory (CVE-2025-32434, CVE-2026-24747). Convert it to "
            f".safetensors on another machine, or install PyTorch {needed}"
        )


def _check_size(path: Path) -> None:
    """Refuse an archive of which much more comes out than there is."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        size = path.stat().st_size
    except Exception as error:  # of many kinds; what cannot be looked into is not unpacked
        raise UnsafeFileError(
            f"{path} cannot be read as a checkpoint of plain tensors: {_reason(error)}"
        ) from error
    if unpacked > MAX_SWELLING * size:
        raise UnsafeFileError(
            f"{path} is compressed: its {size} bytes become {unpacked}, which no checkpoint needs"
        )


def _check_tensors(content: Any, path: Path) -> None:
    """Refuse tensors that claim more values than the file holds."""
    rest = [content]
    seen: set[int] = set()  # containers may hold one another
    while rest:
        item = rest.pop()
        if isinstance(item, Tensor):
            if item.layout is not torch.strided:
                raise UnsafeFileError(f"{path} holds a {item.layout} tensor; expected plain ones")
            if item.numel() * item.element_size() > item.untyped_storage().nbytes():
                raise UnsafeFileError(
                    f"{path} holds a tensor of shape {list(item.shape)} made of "
                    f"{item.untyped_storage().nbytes()} bytes; expected all values in the file"
                )
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            rest += item.values() if isinstance(item, dict) else item


def _reason(error: Exception) -> str:
    """Return what went wrong, in one line; torch advises to read the file unsafely."""
    words = " ".join(str(error).split())
    if "weights_only" in words:
        found = re.search(r"WeightsUnpickler error: (.{1,120}?)(?:\.| Please|$)", words)
        return found[1] if found else "it holds more than tensors and plain containers"
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__
