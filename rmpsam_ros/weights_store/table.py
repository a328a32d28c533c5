"""The table of known weights, and where their files lie on this machine."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import yaml


class WeightsError(RuntimeError):
    """Weights cannot be had or are not what they should be; the message is one line."""


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One known file with weights.

    Attributes:
        name: how the command calls it.
        model: the network configuration or prompt engine that it is for.
        file: its name.
        licence, origin: for people, who are to judge whether they may use it.
        url: where `fetch` takes it from; empty: there is no address for programs.
        sha256: of the file; empty: unknown.
        max_megabytes: nothing larger, 10^6 bytes, is downloaded.
        packaged: whether it comes with the package.
    """

    name: str
    model: str
    file: str
    licence: str
    origin: str
    url: str = ""
    sha256: str = ""
    max_megabytes: int = 1000
    packaged: bool = False

    @property
    def path(self) -> Path:
        """Where the file is, or would be.

        Raises:
            WeightsError: the user has no home.
        """
        if self.packaged:
            return Path(str(resources.files("rmpsam_ros") / "weights" / self.file))
        return store_folder() / self.file


def store_folder() -> Path:
    """Return the folder of fetched weights: rmpsam_ros/weights in the user's data folder.

    Raises:
        WeightsError: the user has no home.
    """
    data = os.environ.get("XDG_DATA_HOME", "")
    try:
        # The standard asks for relative paths to be ignored.
        base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise WeightsError(
            "there is no home folder for fetched weights; set HOME or XDG_DATA_HOME"
        ) from error
    return base / "rmpsam_ros" / "weights"


def load_table(path: Path | None = None) -> dict[str, WeightsEntry]:
    """Return all known weights by name, those of the package by default.

    Raises:
        WeightsError: the file is no such table.
    """
    text = (path or resources.files("rmpsam_ros.weights_store") / "table.yaml").read_text()
    known = {field.name for field in fields(WeightsEntry)}
    try:
        entries = [WeightsEntry(**row) for row in yaml.safe_load(text)]
    except (yaml.YAMLError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"no table of weights with the fields {sorted(known)}: {reason}"
        ) from error
    for entry in entries:
        if Path(entry.file).name != entry.file:
            raise WeightsError(f"weights '{entry.name}': '{entry.file}' is no plain file name")
    return {entry.name: entry for entry in entries}


def find_weights(model: str) -> Path | None:
    """Return a file for a prompt engine, of the package or else fetched before; None: no file."""
    entries = [entry for entry in load_table().values() if entry.model == model]
    for found in sorted(entries, key=lambda entry: not entry.packaged):
        with contextlib.suppress(WeightsError):
            if found.path.is_file():
                return found.path
    return None
