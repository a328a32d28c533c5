"""Frames with corrected masks, collected for ``rmpsam train``.

Each frame is a JPEG with the masks and names of its prompted objects. Packed, they are a folder
with ``instances.json`` (COCO instances of all frames) and ``videos.json`` (YouTube-VIS, what was
recorded), and ``datasets.yaml`` with the lines that a training configuration needs.
"""

from __future__ import annotations

import json
import tempfile
import threading
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rmpsam_ros.console.encoding import Choice, encode_jpeg
from rmpsam_ros.node.input.images import WHITE_16
from rmpsam_ros.segmentation.coco_run_length import encode_coco
from rmpsam_ros.segmentation.run_length import RunLengthMask

UNNAMED = "object"
MAX_FRAMES = 20_000
_BEST = Choice("high")


class DatasetError(RuntimeError):
    """Frames that cannot be collected or packed; the message says why."""


@dataclass(frozen=True, slots=True)
class _Object:
    object_id: str
    name: str
    mask: RunLengthMask


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    size: tuple[int, int]
    video: int  # 0: a frame by itself
    objects: tuple[_Object, ...]


class Dataset:
    """Collects frames in a folder for temporary files, which goes when the console does.

    All methods may be called from any thread.

    Args:
        max_bytes: most that the images may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._folder = tempfile.TemporaryDirectory(prefix="rmpsam_console_")
        self._entries: dict[int, _Entry] = {}  # by stamp
        self._bytes = self._video = 0
        self._lock = threading.Lock()
        self._full = ""
        (self._path / "images").mkdir()

    @property
    def _path(self) -> Path:
        return Path(self._folder.name)

    def summary(self) -> dict[str, Any]:
        """Return how much there is."""
        entries = list(self._entries.values())
        return {
            "frames": len(entries),
            "objects": sum(len(entry.objects) for entry in entries),
            "videos": len({entry.video for entry in entries} - {0}),
            "bytes": self._bytes,
            "problem": self._full,
        }

    def begin_video(self) -> None:
        """Have the frames that are recorded from now on belong to a new video."""
        with self._lock:
            self._video += 1

    def add(
        self,
        stamp: int,
        image: Any,
        masks: Sequence[Any],
        names: Mapping[str, str],
        mono16_white: int = WHITE_16,
    ) -> int:
        """Add an image with its masks; a second time corrects them.

        Args:
            stamp: of the image, nanoseconds.
            image: message, raw or compressed.
            masks: PromptedMask messages of this image; empty ones are left out.
            names: of the objects by their ids; others are called `UNNAMED`.
            mono16_white: as of `encode_jpeg`.

        Returns:
            How many masks it has.

        Raises:
            DatasetError: there is no mask, or no more room.
            ImageError: the image cannot be read.
        """
        with self._lock:
            return self._add(stamp, image, masks, names, 0, mono16_white)

    def record(
        self,
        stamp: int,
        image: Any,
        masks: Sequence[Any],
        names: Mapping[str, str],
        mono16_white: int = WHITE_16,
    ) -> None:
        """Add a frame of the video that is recorded, unless there is no mask or no more room."""
        with self._lock:
            if stamp in self._entries or self._full:
                return
            try:
                self._add(stamp, image, masks, names, self._video, mono16_white)
            except (DatasetError, ValueError) as error:
                if not isinstance(error, _NothingMarked):
                    self._full = str(error)

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            for entry in self._entries.values():
                (self._path / "images" / entry.file).unlink(missing_ok=True)
            self._entries.clear()
            self._bytes, self._full = 0, ""

    def pack(self, labels: Collection[str]) -> Path:
        """Write everything into one zip file and return its path.

        Args:
            labels: names of the classes that a network is trained for; objects of other names
                train "some thing". Empty: not known, every name is taken for one.

        Raises:
            DatasetError: nothing has been collected.
        """
        with self._lock:
            if not self._entries:
                raise DatasetError("no frame has been collected yet")
            target, part = self._path / "dataset.zip", self._path / "dataset.part"
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
                for name, text in self._annotations(labels).items():
                    file.writestr(f"dataset/{name}", text, zipfile.ZIP_DEFLATED)
                for entry in self._entries.values():
                    file.write(self._path / "images" / entry.file, f"dataset/images/{entry.file}")
            part.replace(target)  # who reads the last one goes on with it
            return target

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    def _add(
        self,
        stamp: int,
        image: Any,
        masks: Sequence[Any],
        names: Mapping[str, str],
        video: int,
        mono16_white: int,
    ) -> int:
        objects = [
            _Object(mask.object_id, names.get(mask.object_id, UNNAMED), _mask(mask.mask))
            for mask in masks
            if len(mask.mask.counts)
        ]
        if not objects:
            raise _NothingMarked(
                "no object is marked on this image; mark at least one, then add the image"
            )
        jpeg, size = encode_jpeg(image, _BEST, mono16_white)
        for marked in objects:
            if (marked.mask.height, marked.mask.width) != size:
                raise DatasetError(
                    f"the mask of {marked.object_id} has another size than the image"
                )
        old = self._entries.get(stamp)
        if self._bytes + jpeg.size > self._max_bytes or len(self._entries) >= MAX_FRAMES:
            raise DatasetError(
                "no more room for collected frames: download the data set and empty it, or start "
                "with a larger dataset_megabytes"
            )
        file = f"{stamp:019d}.jpg"
        path = self._path / "images" / file
        self._bytes += jpeg.size - (path.stat().st_size if old is not None else 0)
        path.write_bytes(jpeg.tobytes())
        kept = old.video if old is not None else video
        self._entries[stamp] = _Entry(file, size, kept, tuple(objects))
        return len(objects)

    def _annotations(self, labels: Collection[str]) -> dict[str, str]:
        """Return the annotation files by name."""
        entries = [self._entries[stamp] for stamp in sorted(self._entries)]
        names = sorted({marked.name for entry in entries for marked in entry.objects})
        files = {"instances.json": json.dumps(_instances(entries, names))}
        videos = _videos(entries, names)
        if videos["videos"]:
            files["videos.json"] = json.dumps(videos)
        files["datasets.yaml"] = _configuration(names, labels, "videos.json" in files)
        return files


class _NothingMarked(DatasetError):
    """A frame without masks."""


def _mask(message: Any) -> RunLengthMask:
    box = message.box
    return RunLengthMask(
        message.height,
        message.width,
        (box.x_offset, box.y_offset, box.x_offset + box.width, box.y_offset + box.height),
        np.array(message.counts, np.uint32),
    )


def _categories(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in enumerate(names, 1)]


def _instances(entries: Sequence[_Entry], names: Sequence[str]) -> dict[str, Any]:
    """Return a COCO instances file of all frames."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, 1):
        height, width = entry.size
        images.append({"id": number, "file_name": entry.file, "height": height, "width": width})
        for marked in entry.objects:
            x_min, y_min, x_max, y_max = marked.mask.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(marked.name) + 1,
                    "segmentation": encode_coco(marked.mask),
                    "area": marked.mask.area,
                    "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": _categories(names)}


def _videos(entries: Sequence[_Entry], names: Sequence[str]) -> dict[str, Any]:
    """Return a YouTube-VIS file of what was recorded."""
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for video in sorted({entry.video for entry in entries} - {0}):
        frames = [entry for entry in entries if entry.video == video]
        # A video has frames of one size; the camera may have been changed meanwhile.
        frames = [entry for entry in frames if entry.size == frames[0].size]
        height, width = frames[0].size
        videos.append(
            {
                "id": video,
                "file_names": [entry.file for entry in frames],
                "height": height,
                "width": width,
                "length": len(frames),
            }
        )
        tracks = {marked.object_id: marked.name for entry in frames for marked in entry.objects}
        for object_id, name in tracks.items():
            masks = [
                {marked.object_id: marked.mask for marked in entry.objects}.get(object_id)
                for entry in frames
            ]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "video_id": video,
                    "category_id": names.index(name) + 1,
                    "height": height,
                    "width": width,
                    "length": len(frames),
                    "iscrowd": 0,
                    "segmentations": [
                        None if mask is None else encode_coco(mask) for mask in masks
                    ],
                    "areas": [None if mask is None else mask.area for mask in masks],
                    "bboxes": [None if mask is None else _xywh(mask) for mask in masks],
                }
            )
    return {"videos": videos, "annotations": annotations, "categories": _categories(names)}


def _xywh(mask: RunLengthMask) -> list[int]:
    x_min, y_min, x_max, y_max = mask.box
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _configuration(names: Sequence[str], labels: Collection[str], has_videos: bool) -> str:
    """Return a training configuration with nothing but the data sets."""
    classes = {
        name: name if name in labels or not (labels or name == UNNAMED) else "unnamed"
        for name in names
    }
    common = {"images": "dataset/images", "classes": classes}
    sets: list[dict[str, Any]] = [
        {
            "name": "console",
            "format": "coco_instances",
            "annotations": "dataset/instances.json",
            **common,
            "weights": {"clip": 1, "prompt": 1},
        }
    ]
    if has_videos:
        sets.append(
            {
                "name": "console_videos",
                "format": "youtube_vis",
                "annotations": "dataset/videos.json",
                **common,
                "weights": {"clip": 1},
            }
        )
    return (
        "# For `datasets` of a training configuration (docs/training.md); the paths are below\n"
        "# the folder that --data names. Right of each name is the class of the label set that\n"
        "# it is.\n" + yaml.safe_dump({"datasets": sets}, sort_keys=False)
    )
