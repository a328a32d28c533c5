"""YouTube-VIS: videos with masks that keep their object from frame to frame."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.data.base import DatasetConfig, check_size, read_image, read_json
from rmpsam_ros.data.coco import category_names, segmentation_mask
from rmpsam_ros.data.samples import DataError, Sample, stack_masks
from rmpsam_ros.data.taxonomy import IGNORED

FRAME_INTERVAL = 2
"""Largest distance of neighbouring frames of a clip (docs/reference/rmpsam.md, section 17)."""


class YouTubeVis:
    """``annotations`` is the JSON file with ``videos``, ``annotations`` and ``categories``."""

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        content = read_json(config.annotations)
        self._names = category_names(content, config)
        if "videos" not in content:
            raise DataError(f"'{config.annotations}' has no 'videos'; is it a YouTube-VIS file?")
        self._videos = sorted(content["videos"], key=lambda video: int(video["id"]))
        self._annotations: dict[int, list[Any]] = defaultdict(list)
        for annotation in content["annotations"]:
            self._annotations[annotation["video_id"]].append(annotation)

    def __len__(self) -> int:
        return len(self._videos)

    def load_clip(self, index: int, frames: int, rng: np.random.Generator) -> list[Sample]:
        """Return ``frames`` frames of video ``index``; mask g is the same object in each.

        A video that is too short repeats its last frame.
        """
        length = len(self._videos[index]["file_names"])
        start = int(rng.integers(max(length - FRAME_INTERVAL * (frames - 1), 1)))
        steps = start + FRAME_INTERVAL * np.arange(frames)
        return [self.load_frame(index, min(int(step), length - 1)) for step in steps]

    def load_frame(self, index: int, frame: int) -> Sample:
        """Return one frame; objects that are not in it have an empty mask."""
        video = self._videos[index]
        image = read_image(self._config.images / video["file_names"][frame])
        size = image.shape[:2]
        ignore = np.zeros(size, bool)
        masks: list[NDArray[np.bool_]] = []
        classes: list[int] = []
        for annotation in self._annotations[video["id"]]:
            segmentation = annotation["segmentations"][frame]
            mask = np.zeros(size, bool)
            if segmentation is not None:
                mask = segmentation_mask(segmentation, size)
                check_size(mask, size, self._config.annotations)
            target = self._config.mapping.class_of(self._names[annotation["category_id"]])
            if target == IGNORED or annotation.get("iscrowd"):
                ignore |= mask
            else:
                masks.append(mask)
                classes.append(target)
        return Sample(
            image,
            stack_masks(masks, size),
            np.array(classes, np.int64),
            ignore,
            self._config.mapping.annotated,
        )
