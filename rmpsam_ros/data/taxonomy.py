"""One list of classes for many data sets, each of which knows only some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.samples import UNNAMED, DataError
from rmpsam_ros.segmentation.labels import LabelSet

UNNAMED_NAME = "unnamed"
"""Mapping target of objects that get a mask but no class."""

IGNORE_NAME = "ignore"
"""Mapping target of regions about which nothing is known."""

IGNORED = -2


@dataclass(frozen=True)
class ClassMapping:
    """How the class names of one data set become classes of the label set.

    label_set: the classes that are trained.
    names: source name -> label name, ``unnamed`` or ``ignore``.
    others: what happens to source names that are not listed: ``unnamed``, ``ignore``, or
        ``error`` (a DataError that names the class).
    partial: labels of which the data set shows unmarked objects; a query is never punished for
        claiming them.
    absent: labels that the data set does not mark and that count as not there; without it they
        would be free to be seen everywhere in its images.
    """

    label_set: LabelSet
    names: Mapping[str, str]
    others: str = "error"
    partial: Sequence[str] = ()
    absent: Sequence[str] = ()
    _targets: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = {label.name: label.class_id for label in self.label_set.labels}
        special = {UNNAMED_NAME: UNNAMED, IGNORE_NAME: IGNORED}
        targets = {}
        for source, target in self.names.items():
            if target not in known and target not in special:
                raise DataError(
                    f"class {source!r} is mapped to {target!r}, which is no label of "
                    f"{self.label_set.name!r}; use one of its names, 'unnamed' or 'ignore'"
                )
            targets[source] = special[target] if target in special else known[target]
        if self.others not in (*special, "error"):
            raise DataError(f"others is {self.others!r}; use 'unnamed', 'ignore' or 'error'")
        for kind, labels in (("partial", self.partial), ("absent", self.absent)):
            for name in labels:
                if name not in known:
                    raise DataError(f"{kind} label {name!r} is not in {self.label_set.name!r}")
        object.__setattr__(self, "_targets", targets)

    def class_of(self, source: str) -> int:
        """Return the class index of a source name, ``UNNAMED`` or ``IGNORED``."""
        if source in self._targets:
            return self._targets[source]
        if self.others == UNNAMED_NAME:
            return UNNAMED
        if self.others == IGNORE_NAME:
            return IGNORED
        raise DataError(
            f"class {source!r} has no mapping; list it under 'classes', or set 'others'"
        )

    def is_thing(self, class_index: int) -> bool:
        """Whether a class has instances; objects without a name do."""
        return class_index == UNNAMED or self.label_set.labels[class_index].is_thing

    @property
    def annotated(self) -> NDArray[np.bool_]:
        """Classes [C] that this data set marks wherever they are seen, or that are absent."""
        mask = np.zeros(len(self.label_set.labels), bool)
        for target in self._targets.values():
            if target >= 0:
                mask[target] = True
        for label in self.label_set.labels:
            if label.name in self.partial:
                mask[label.class_id] = False
            if label.name in self.absent:
                mask[label.class_id] = True
        return mask
