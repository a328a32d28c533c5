"""The training configuration, a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from rmpsam_ros.data import DatasetConfig, open_dataset
from rmpsam_ros.data.taxonomy import ClassMapping
from rmpsam_ros.segmentation.labels import LabelSet, load_label_set
from rmpsam_ros.training.augment import AugmentConfig
from rmpsam_ros.training.batches import KINDS, USES, BatchConfig, Source
from rmpsam_ros.training.losses import LossConfig
from rmpsam_ros.training.optimizer import OptimizerConfig

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration file is wrong; the message says where."""


@dataclass(frozen=True)
class LoopConfig:
    """Length of the run and what it leaves behind.

    Attributes:
        steps: optimiser steps.
        accumulate: batches per step.
        precision: ``float32`` or ``bfloat16`` (autocast). Intervals are in steps; 0 switches the
            thing off.
    """

    steps: int = 1000
    accumulate: int = 1
    seed: int = 0
    precision: str = "float32"
    threads: int = 0
    workers: int = 1
    log_interval: int = 20
    checkpoint_interval: int = 500
    preview_interval: int = 0


@dataclass(frozen=True)
class EvaluationConfig:
    """A data set to evaluate on and the tasks: see ``rmpsam_ros.evaluation``."""

    dataset: DatasetConfig
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that defines a run.

    Images and annotations are below ``data_root``; other paths are relative to the file.
    ``base`` names another file (in the same folder) whose settings are changed. ``imitate``:
    weights of a network whose feature map is learned instead of the tasks (see ``imitation``).
    """

    path: Path
    network: str
    start_from: Path | None
    imitate: Path | None
    label_set: LabelSet
    class_table_seed: int
    datasets: tuple[tuple[DatasetConfig, dict[str, float]], ...]
    evaluation: tuple[EvaluationConfig, ...]
    batches: BatchConfig
    augment: dict[str, AugmentConfig]
    losses: LossConfig
    optimizer: OptimizerConfig
    loop: LoopConfig
    raw: dict[str, Any] = field(default_factory=dict)

    def open_sources(self) -> list[Source]:
        """Open all data sets; DataError if files are missing."""
        return [
            Source(config.name, open_dataset(config), weights) for config, weights in self.datasets
        ]


def load_config(path: Path, data_root: Path | None = None) -> TrainingConfig:
    """Read and check a configuration; ConfigError says which entry is wrong.

    Args:
        data_root: overrides the entry of that name, for data in another place.
    """
    content = _read(path)
    _check_keys(content, _KEYS, str(path))
    here = path.parent
    root = data_root or here / content.get("data_root", ".")
    labels = str(content.get("labels", "coco_panoptic"))
    label_set = load_label_set(str(here / labels) if (here / labels).exists() else labels)
    augment = content.get("augment", {})
    common = {key: value for key, value in augment.items() if key not in KINDS}
    return TrainingConfig(
        path=path,
        network=str(content.get("network", "rmpsam_r18")),
        start_from=_path(here, content.get("start_from")),
        imitate=_path(here, content.get("imitate")),
        label_set=label_set,
        class_table_seed=int(content.get("class_table_seed", 0)),
        datasets=tuple(
            _dataset(entry, label_set, root, here) for entry in content.get("datasets", [])
        ),
        evaluation=tuple(
            _evaluation(entry, label_set, root, here) for entry in content.get("evaluation", [])
        ),
        batches=parse(BatchConfig, content.get("batches", {}), "batches"),
        augment={
            kind: parse(AugmentConfig, {**common, **augment.get(kind, {})}, f"augment.{kind}")
            for kind in KINDS
        },
        losses=parse(LossConfig, content.get("losses", {}), "losses"),
        optimizer=parse(OptimizerConfig, content.get("optimizer", {}), "optimizer"),
        loop=parse(LoopConfig, content.get("loop", {}), "loop"),
        raw=content,
    )


def _read(path: Path) -> dict[str, Any]:
    """Return the settings of a file on top of those of its ``base``, section by section."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"'{path}' holds no settings")
    base = content.pop("base", None)
    if base is None:
        return content
    settings = _read(path.parent / str(base))
    for key, value in content.items():
        nested = isinstance(value, dict) and isinstance(settings.get(key), dict)
        settings[key] = {**settings[key], **value} if nested else value
    return settings


_KEYS = {
    "network",
    "start_from",
    "imitate",
    "labels",
    "class_table_seed",
    "data_root",
    "datasets",
    "evaluation",
    "batches",
    "augment",
    "losses",
    "optimizer",
    "loop",
}
_DATASET_KEYS = {
    "name",
    "format",
    "images",
    "annotations",
    "split",
    "class_names",
    "classes",
    "others",
    "partial",
    "absent",
    "weights",
    "minimum_area",
    "unlabelled",
    "tasks",
}


def parse(kind: type[T], values: Any, where: str) -> T:
    """Build a flat dataclass from a mapping; unknown keys and wrong types are ConfigErrors."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected settings, got {values!r}")
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    _check_keys(values, {f.name for f in fields(kind)}, where)
    converted = {}
    for key, value in values.items():
        if is_dataclass(hints[key]):
            converted[key] = parse(hints[key], value, f"{where}.{key}")
            continue
        try:
            converted[key] = _convert(hints[key], value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}.{key}: {error}") from error
    try:
        return kind(**converted)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any) -> Any:
    if hint in (int, float, str):
        if isinstance(value, bool) or (hint is int and value != int(value)):
            raise ValueError(f"expected {hint.__name__}, got {value!r}")
        return hint(value)
    return tuple(value) if isinstance(value, list) else value


def _dataset(
    entry: Any, label_set: LabelSet, root: Path, here: Path
) -> tuple[DatasetConfig, dict[str, float]]:
    required = {"name", "format", "images", "annotations"}
    if not isinstance(entry, dict) or not required <= set(entry):
        raise ConfigError("every data set needs name, format, images and annotations")
    where = f"data set {entry['name']!r}"
    _check_keys(entry, _DATASET_KEYS, where)
    weights = {str(kind): float(weight) for kind, weight in entry.get("weights", {}).items()}
    _check_keys(weights, set(USES), f"{where}, weights")
    names = entry.get("class_names", {})
    if isinstance(names, list):
        names = dict(enumerate(names))
    classes = entry.get("classes")
    if classes is None:
        classes = {label.name: label.name for label in label_set.labels}
    mapping = ClassMapping(
        label_set,
        classes,
        str(entry.get("others", "error")),
        tuple(entry.get("partial", ())),
        tuple(entry.get("absent", ())),
    )
    config = DatasetConfig(
        name=str(entry["name"]),
        format=str(entry["format"]),
        images=root / entry["images"],
        annotations=root / entry["annotations"],
        mapping=mapping,
        split=_path(here, entry.get("split")),
        class_names=names,
        minimum_area=int(entry.get("minimum_area", 16)),
        unlabelled=str(entry.get("unlabelled", "other")),
    )
    return config, weights


def _evaluation(entry: Any, label_set: LabelSet, root: Path, here: Path) -> EvaluationConfig:
    dataset, weights = _dataset(entry, label_set, root, here)
    tasks = entry.get("tasks")
    if weights or not isinstance(tasks, list):
        raise ConfigError(f"evaluation {dataset.name!r} needs a list of tasks, and no weights")
    return EvaluationConfig(dataset, tuple(str(task) for task in tasks))


def _path(base: Path, value: Any) -> Path | None:
    return None if not value else base / str(value)


def _check_keys(values: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(map(str, values)) - known)
    if unknown:
        raise ConfigError(f"{where}: unknown entry {unknown[0]!r}; known: {sorted(known)}")
