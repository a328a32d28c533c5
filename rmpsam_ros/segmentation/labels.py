"""Label sets: which classes there are, which are things, and their colours."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import yaml

PACKAGED = ("coco_panoptic", "youtube_vis_2019")
MAX_CLASSES = 10000


class LabelSetError(ValueError):
    """A label set that cannot be found or is not well formed."""


@dataclass(frozen=True, slots=True)
class Label:
    """One class: class_id is its place in the label set, color is (red, green, blue), 0 to 255."""

    class_id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """Every class the network can report, in the order of its class logits.

    Raises:
        LabelSetError: unless class ids count from 0 and names are unique.
    """

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.labels) <= MAX_CLASSES:
            raise LabelSetError(
                f"label set {self.name!r} must have 1 to {MAX_CLASSES} labels, "
                f"got {len(self.labels)}"
            )
        if [label.class_id for label in self.labels] != list(range(len(self.labels))):
            raise LabelSetError(f"class ids of label set {self.name!r} must count from 0")
        names = [label.name for label in self.labels]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise LabelSetError(f"label set {self.name!r} repeats the names {sorted(repeated)}")

    @property
    def num_classes(self) -> int:
        """Number of classes, without "none"."""
        return len(self.labels)

    @cached_property
    def num_things(self) -> int:
        """Number of thing classes."""
        return sum(label.is_thing for label in self.labels)

    @property
    def unlabelled(self) -> int:
        """Value of "no class" in semantic maps: 255, or 65535 above 254 classes."""
        return 255 if self.num_classes <= 254 else 65535

    @property
    def semantic_dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of semantic maps: uint8, or uint16 above 254 classes."""
        return np.uint8 if self.num_classes <= 254 else np.uint16


def generate_color(class_id: int) -> tuple[int, int, int]:
    """A colour (red, green, blue) for a class without one; neighbouring classes differ clearly."""
    hue = class_id * 0.61803398875 % 1.0
    saturation = (0.85, 0.6, 0.75)[class_id % 3]
    value = (0.95, 0.75, 0.85, 0.65)[class_id % 4]
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def load_label_set(name_or_path: str | Path) -> LabelSet:
    """Load a packaged label set by name, or one of the user's from a YAML or JSON file.

    Packaged: coco_panoptic (133 classes, things first, official order and colours) and
    youtube_vis_2019 (40). A file holds a mapping with `labels`, a list in the order of the
    network's classes, each with `name`, `is_thing` and optionally `color` [red, green, blue], and
    optionally `name` of the set.

    Raises:
        LabelSetError: no such set, or a file that does not hold one; says which and why.
    """
    if str(name_or_path) in PACKAGED:
        place = resources.files("rmpsam_ros.segmentation") / "label_sets" / f"{name_or_path}.json"
        return parse_label_set(json.loads(place.read_text("utf-8")), str(name_or_path))
    path = Path(name_or_path)
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise LabelSetError(
            f"label set must be one of {', '.join(PACKAGED)} or a .json or .yaml file, "
            f"got {str(name_or_path)!r}"
        )
    try:
        text = path.read_text("utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise LabelSetError(f"cannot read label set {path}: {error}") from error
    return parse_label_set(data, path.stem)


def parse_label_set(data: object, default_name: str) -> LabelSet:
    """Make a label set of what a label file holds; see ``load_label_set``."""
    if not isinstance(data, Mapping) or not isinstance(data.get("labels"), list):
        raise LabelSetError(f"label set {default_name!r} must be a mapping with a list 'labels'")
    name = data.get("name", default_name)
    if not isinstance(name, str) or not name:
        raise LabelSetError(f"the name of label set {default_name!r} must be text, got {name!r}")
    entries = data["labels"][: MAX_CLASSES + 1]
    return LabelSet(name, tuple(_parse_label(entry, i) for i, entry in enumerate(entries)))


def _parse_label(entry: object, class_id: int) -> Label:
    where = f"label {class_id}"
    if not isinstance(entry, Mapping):
        raise LabelSetError(f"{where} must be a mapping with name and is_thing, got {entry!r}")
    if unknown := set(entry) - {"name", "is_thing", "color"}:
        raise LabelSetError(f"{where} has unknown keys {sorted(map(str, unknown))}")
    name, is_thing = entry.get("name"), entry.get("is_thing")
    if not isinstance(name, str) or not name.strip():
        raise LabelSetError(f"{where} must have a name, got {name!r}")
    if not isinstance(is_thing, bool):
        raise LabelSetError(f"{where} ({name}): is_thing must be true or false, got {is_thing!r}")
    color = entry.get("color", generate_color(class_id))
    if (
        not isinstance(color, list | tuple)
        or len(color) != 3
        or not all(type(part) is int and 0 <= part <= 255 for part in color)
    ):
        raise LabelSetError(f"{where} ({name}): color must be 3 numbers 0 to 255, got {color!r}")
    return Label(class_id, name, is_thing, (color[0], color[1], color[2]))
