"""Labelled data sets from recordings, in formats that `rmpsam train` reads.

The labels are what the network found: a start for a person to correct, or pseudo labels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from rmpsam_ros.recordings.events import LocatedFrame, ProcessedFrame
from rmpsam_ros.recordings.topics import Recorded
from rmpsam_ros.segmentation.run_length import decode_id_map
from rmpsam_ros.tracking import TrackState
from rmpsam_ros.video.vis_results import encode_coco

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.labels import LabelSet

FORMATS = ("coco", "coco_panoptic", "youtube_vis")
TRAINING_FORMATS = {  # by which `rmpsam train` knows them
    "coco": "coco_instances",
    "coco_panoptic": "coco_panoptic",
    "youtube_vis": "youtube_vis",
}
IMAGES, ANNOTATIONS = "images", "annotations"
JPEG_QUALITY = 95  # of images that were recorded raw; JPEGs are kept byte for byte


class FrameChoice:
    """Chooses the frames of a data set.

    Args:
        every: take every so many frames of each camera.
        on_change: take of these only those in which other tracks, or tracks of other classes, are
            confirmed and seen than in the one taken before.
    """

    def __init__(self, every: int, on_change: bool) -> None:
        self._every, self._on_change = every, on_change
        self._counts: dict[str, int] = {}
        self._shown: dict[str, frozenset[tuple[int, int]]] = {}

    def takes(self, frame: ProcessedFrame) -> bool:
        """Tell whether a frame is taken; called once for each, in order."""
        camera = frame.camera.name
        count = self._counts.get(camera, 0)
        self._counts[camera] = count + 1
        if count % self._every:
            return False
        shown = frozenset(
            (one.id, one.class_id)
            for one in frame.result.tracks
            if one.state is TrackState.CONFIRMED
        )
        if self._on_change and self._shown.get(camera) == shown:
            return False
        self._shown[camera] = shown
        return True


class DataSetWriter:
    """Writes chosen frames as a data set; a context that completes it.

    The folder gets ``images``, ``annotations.json`` (with PNG files beside it for coco_panoptic),
    ``labels.yaml``, the label set, and ``dataset.yaml``, an entry for a training configuration.

    Args:
        folder: must not exist.
        format_name: one of `FORMATS`.
    """

    def __init__(self, folder: Path, format_name: str, choice: FrameChoice) -> None:
        self._folder, self._format, self._choice = folder, format_name, choice
        kinds = {"coco": CocoInstances, "coco_panoptic": CocoPanoptic, "youtube_vis": YouTubeVis}
        self._content: Annotations = kinds[format_name](folder)
        self._labels: LabelSet | None = None
        self._counts: dict[str, int] = {}

    def __enter__(self) -> DataSetWriter:
        """Make the folders."""
        (self._folder / IMAGES).mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        """Write the annotations, unless something failed or there is nothing."""
        if kind is None and self._labels is not None:
            self._complete(self._labels)

    def frame(self, frame: ProcessedFrame) -> None:
        """Write a frame, if it is chosen."""
        self._labels = frame.pipeline.label_set
        if not self._choice.takes(frame):
            return
        camera = frame.camera.name
        number = self._counts.get(camera, 0)
        self._counts[camera] = number + 1
        name = f"{camera}_{number:06d}" if camera else f"{number:06d}"
        data = _jpeg(frame)
        (self._folder / IMAGES / f"{name}.jpg").write_bytes(data)
        self._content.add(name, frame)

    def located(self, frame: LocatedFrame) -> None:
        """Positions are no labels."""

    def copy(self, recorded: Recorded) -> None:
        """Other topics are no labels."""

    def _complete(self, labels: LabelSet) -> None:
        categories = [
            {"id": one.class_id + 1, "name": one.name, "isthing": int(one.is_thing),
             "color": list(one.color), "supercategory": ""}
            for one in labels.labels
        ]  # fmt: skip
        content = {**self._content.to_json(), "categories": categories}
        (self._folder / f"{ANNOTATIONS}.json").write_text(json.dumps(content) + "\n")
        entries = [
            {"name": one.name, "is_thing": one.is_thing, "color": list(one.color)}
            for one in labels.labels
        ]
        label_file = {"name": labels.name, "labels": entries}
        entry = {
            "name": "recording",
            "format": TRAINING_FORMATS[self._format],
            "images": IMAGES,
            "annotations": f"{ANNOTATIONS}.json",
        }
        for name, text in (("labels.yaml", label_file), ("dataset.yaml", {"datasets": [entry]})):
            (self._folder / name).write_text(yaml.safe_dump(text, sort_keys=False))


class Annotations:
    """The annotations of a data set, frame by frame."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, frame: ProcessedFrame) -> None:
        """Take in a frame; name: of its image file, without suffix."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return everything but the categories."""
        raise NotImplementedError


class CocoInstances(Annotations):
    """COCO instances: the things of each image as run lengths, with their tracks."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, name: str, frame: ProcessedFrame) -> None:
        """Take in a frame."""
        result, image = frame.result, _image(len(self._images) + 1, name, frame)
        self._images.append(image)
        for segment in result.panoptic.segments:
            track = result.track_ids.get(segment.id)
            if track is None:
                continue
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image["id"],
                    "category_id": segment.class_id + 1,
                    "segmentation": encode_coco(result.track_masks[track]),
                    "area": segment.area,
                    "bbox": _bbox(segment.box),
                    "iscrowd": 0,
                    "score": float(segment.score),
                    "track_id": track,
                }
            )

    def to_json(self) -> dict[str, Any]:
        """Return images and annotations."""
        return {"images": self._images, "annotations": self._annotations}


class CocoPanoptic(Annotations):
    """COCO panoptic: a PNG for each image, whose colours are the ids of the segments."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, name: str, frame: ProcessedFrame) -> None:
        """Take in a frame."""
        result, image = frame.result, _image(len(self._images) + 1, name, frame)
        self._images.append(image)
        ids = decode_id_map(result.run_ids, result.run_lengths, result.height, result.width)
        self._annotations.append(
            {
                "image_id": image["id"],
                "file_name": f"{name}.png",
                "segments_info": [
                    {
                        "id": segment.id,
                        "category_id": segment.class_id + 1,
                        "area": segment.area,
                        "bbox": _bbox(segment.box),
                        "iscrowd": 0,
                        "score": float(segment.score),
                        "track_id": result.track_ids.get(segment.id, 0),
                    }
                    for segment in result.panoptic.segments
                ],
            }
        )
        folder = self._folder / ANNOTATIONS
        folder.mkdir(exist_ok=True)
        blank = np.zeros_like(ids, np.uint8)
        bgr = np.dstack([blank, (ids >> 8).astype(np.uint8), (ids & 255).astype(np.uint8)])
        (folder / f"{name}.png").write_bytes(_encoded(".png", bgr))

    def to_json(self) -> dict[str, Any]:
        """Return images and annotations."""
        return {"images": self._images, "annotations": self._annotations}


class YouTubeVis(Annotations):
    """YouTube-VIS: a video for each camera, and the tracks that were ever confirmed.

    Images of another size begin another video.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._videos: list[dict[str, Any]] = []
        self._current: dict[str, dict[str, Any]] = {}
        self._tracks: dict[tuple[int, int], dict[str, Any]] = {}

    def add(self, name: str, frame: ProcessedFrame) -> None:
        """Take in a frame."""
        result = frame.result
        video = self._video(frame)
        place = len(video["file_names"])
        video["file_names"].append(f"{name}.jpg")
        confirmed = {one.id for one in result.tracks if one.state is TrackState.CONFIRMED}
        for segment in result.panoptic.segments:
            track_id = result.track_ids.get(segment.id)
            if track_id is None:
                continue
            track = self._tracks.setdefault(
                (video["id"], track_id), {"votes": {}, "frames": {}, "confirmed": False}
            )
            votes = track["votes"]
            votes[segment.class_id] = votes.get(segment.class_id, 0.0) + float(segment.score)
            mask = encode_coco(result.track_masks[track_id])
            track["frames"][place] = (mask, _bbox(segment.box), segment.area)
            track["confirmed"] |= track_id in confirmed

    def to_json(self) -> dict[str, Any]:
        """Return videos and annotations."""
        lengths = {}
        for video in self._videos:
            lengths[video["id"]] = video["length"] = len(video["file_names"])
        annotations: list[dict[str, Any]] = []
        for (video_id, track_id), track in self._tracks.items():
            if not track["confirmed"]:
                continue
            frames = [track["frames"].get(k, (None,) * 3) for k in range(lengths[video_id])]
            masks, boxes, areas = (list(column) for column in zip(*frames, strict=True))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "video_id": video_id,
                    "category_id": max(track["votes"], key=track["votes"].__getitem__) + 1,
                    "segmentations": masks,
                    "bboxes": boxes,
                    "areas": areas,
                    "iscrowd": 0,
                    "track_id": track_id,
                }
            )
        return {"videos": self._videos, "annotations": annotations}

    def _video(self, frame: ProcessedFrame) -> dict[str, Any]:
        size = {"height": frame.result.height, "width": frame.result.width}
        video = self._current.get(frame.camera.name)
        if video is None or size != {key: video[key] for key in size}:
            video = {"id": len(self._videos) + 1, **size, "length": 0, "file_names": []}
            video["camera"] = frame.camera.name
            self._videos.append(video)
            self._current[frame.camera.name] = video
        return video


def _image(number: int, name: str, frame: ProcessedFrame) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": f"{name}.jpg",
        "height": frame.result.height,
        "width": frame.result.width,
        "camera": frame.camera.name,
        "stamp": f"{frame.stamp // 10**9}.{frame.stamp % 10**9:09d}",
    }


def _bbox(box: tuple[int, int, int, int]) -> list[int]:
    """Return left, top, width, height."""
    x_min, y_min, x_max, y_max = box
    return [x_min, y_min, x_max - x_min, y_max - y_min]


def _jpeg(frame: ProcessedFrame) -> bytes:
    """Return the image as it was recorded, if that is a JPEG, else as one."""
    if frame.camera.compressed:
        data = bytes(frame.message.data)
        if data.startswith(b"\xff\xd8"):
            return data
    bgr = cv2.cvtColor(frame.rgb(), cv2.COLOR_RGB2BGR)
    return _encoded(".jpg", np.asarray(bgr, np.uint8), cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)


def _encoded(suffix: str, bgr: NDArray[np.uint8], *options: int) -> bytes:
    _, data = cv2.imencode(suffix, bgr, list(options))
    return data.tobytes()
