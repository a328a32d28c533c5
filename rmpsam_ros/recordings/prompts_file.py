"""Prompts for a recording: which object is pointed at when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.segmentation.prompt_types import FOREGROUND, MAX_BOXES, MAX_POINTS, ObjectPrompt

MAX_PROMPTS = 10_000
_KEYS = {"stamp", "points", "boxes", "name", "camera"}


@dataclass(frozen=True)
class RecordedPrompt:
    """A prompt on the first frame at or after a stamp.

    Attributes:
        stamp: nanoseconds, as in the headers of the images.
        name: object id; prompts of one name refine one object. Empty: a name is made.
        camera: its name; empty: the only one.
        place: of the prompt in its file, for people.
    """

    stamp: int
    prompt: ObjectPrompt
    name: str
    camera: str
    place: str


def read_prompts(path: Path) -> tuple[RecordedPrompt, ...]:
    """Read a YAML or JSON file: a list of prompts, sorted by stamp.

    Each has ``stamp`` (seconds, or ``"SECONDS.NANOSECONDS"`` as text where every digit counts),
    ``points`` ([x, y] or [x, y, label]) or ``boxes`` ([x_min, y_min, x_max, y_max]) or both, and
    optionally ``name`` and ``camera``.

    Raises:
        RecordingError: the file cannot be read or says something else.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"prompts file '{path}' cannot be read: {reason}") from error
    if not isinstance(content, list) or len(content) > MAX_PROMPTS:
        raise RecordingError(f"prompts file '{path}' must hold a list of up to {MAX_PROMPTS}")
    prompts = [_prompt(entry, f"'{path}', prompt {k}") for k, entry in enumerate(content, 1)]
    return tuple(sorted(prompts, key=lambda prompt: prompt.stamp))


def _prompt(entry: object, place: str) -> RecordedPrompt:
    if not isinstance(entry, Mapping) or not set(entry) <= _KEYS or "stamp" not in entry:
        raise RecordingError(
            f"{place}: expected stamp and points or boxes, and maybe name and camera; got {entry}"
        )
    points = [
        _numbers(values, (2, 3), place) for values in _list(entry, "points", MAX_POINTS, place)
    ]
    boxes = [_numbers(values, (4,), place) for values in _list(entry, "boxes", MAX_BOXES, place)]
    if not points and not boxes:
        raise RecordingError(f"{place} has neither points nor boxes")
    labels = [point[2] if len(point) == 3 else FOREGROUND for point in points]
    prompt = ObjectPrompt(
        np.array([point[:2] for point in points], np.float32).reshape(-1, 2),
        np.array(labels, np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
    )
    texts = {key: entry.get(key, "") for key in ("name", "camera")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise RecordingError(f"{place}: {key} is {text!r}; expected text")
    return RecordedPrompt(_stamp(entry["stamp"], place), prompt, place=place, **texts)


def _list(entry: Mapping[str, Any], key: str, maximum: int, place: str) -> Sequence[Any]:
    values = entry.get(key, [])
    if not isinstance(values, list) or len(values) > maximum:
        raise RecordingError(f"{place}: {key} must be a list of up to {maximum}, got {values!r}")
    return values


def _numbers(values: object, lengths: tuple[int, ...], place: str) -> list[float]:
    good = isinstance(values, list) and len(values) in lengths
    if not good or not all(
        type(value) in (int, float) and math.isfinite(value)
        for value in values  # type: ignore[attr-defined]
    ):
        expected = " or ".join(map(str, lengths))
        raise RecordingError(f"{place}: got {values!r}; expected {expected} numbers")
    return list(values)  # type: ignore[call-overload]


def _stamp(value: object, place: str) -> int:
    """Return nanoseconds; a text keeps all digits, which a number of seconds cannot."""
    text = value if isinstance(value, str) else repr(value)
    whole, _, rest = text.partition(".")
    if not whole.isdecimal() or not (rest.isdecimal() or not rest) or len(rest) > 9:
        raise RecordingError(f"{place}: stamp is {value!r}; expected seconds, as 12.5")
    return int(whole) * 1_000_000_000 + int(rest.ljust(9, "0"))
