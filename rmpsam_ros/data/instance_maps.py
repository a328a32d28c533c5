"""Images with class and instance in one number per pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.base import DatasetConfig, check_size, list_images, read_image, read_json
from rmpsam_ros.data.label_maps import class_name
from rmpsam_ros.data.samples import DataError, Sample, stack_masks
from rmpsam_ros.data.taxonomy import IGNORED

CROWD = 65535
"""Value of pixels about which nothing is known."""

_INSTANCES = 256


class InstanceMaps:
    """``annotations`` is a folder of 16-bit PNG files with the names of the images.

    A value is 256 * class id + instance; 0: no object of the data set's classes, 65535: unknown.
    Instance 0: the class's instances are not told apart; such things are unknown, too. The file
    ``classes.json`` beside the folder names the classes, unless ``class_names`` does.
    """

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self._images = list_images(config)
        if not config.class_names:
            names = read_json(config.annotations.parent / "classes.json")
            config.class_names.update({int(value): str(name) for value, name in names.items()})

    def __len__(self) -> int:
        return len(self._images)

    def name_of(self, index: int) -> str:
        """Return the file name, without suffix, of image ``index``."""
        return self._images[index].stem

    def load(self, index: int) -> Sample:
        """Return image ``index`` with its annotation."""
        config = self._config
        image = read_image(self._images[index])
        path = config.annotations / f"{self.name_of(index)}.png"
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.ndim != 2 or labels.dtype != np.uint16:
            raise DataError(f"'{path}' is missing or not a PNG of one 16-bit channel")
        check_size(labels, image.shape[:2], path)
        ignore = labels == CROWD
        if config.unlabelled == "ignore":
            ignore |= labels == 0
        things: list[tuple[int, NDArray[np.bool_]]] = []
        stuff: dict[int, NDArray[np.bool_]] = {}
        for value in np.unique(labels[(labels != CROWD) & (labels != 0)]):
            source, instance = divmod(int(value), _INSTANCES)
            target = config.mapping.class_of(class_name(config, source, path))
            region = labels == value
            is_thing = target != IGNORED and config.mapping.is_thing(target)
            if target == IGNORED or (is_thing and instance == 0):
                ignore |= region
            elif not is_thing:
                stuff[target] = stuff.get(target, False) | region
            elif region.sum() >= config.minimum_area:
                things.append((target, region))
            else:
                ignore |= region
        found = things + list(stuff.items())
        return Sample(
            image,
            stack_masks([region for _, region in found], labels.shape),
            np.array([target for target, _ in found], np.int64),
            ignore,
            config.mapping.annotated,
        )
