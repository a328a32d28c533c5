"""Cameras of a recording: their image, depth and calibration topics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmpsam_ros.node.depth.depth_images import ENCODINGS as DEPTH_ENCODINGS
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.topics import Recorded, Topic

if TYPE_CHECKING:
    from rmpsam_ros.recordings.reading import Recording

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
NODE = "/rmpsam"  # results lie below it, as the node's do
_COMPRESSED_SUFFIX = "/compressed"


@dataclass(frozen=True, slots=True)
class CameraTopics:
    """One camera of a recording.

    Attributes:
        name: empty if it is the only one.
        image: topic of the images; compressed: of type CompressedImage.
        info: topic of the calibration; it need not exist.
        depth: topic of the aligned depth images; empty: none.
    """

    name: str
    image: str
    compressed: bool
    info: str
    depth: str = ""

    def own(self, topic: str) -> str:
        """Return the name of a result topic, as the node has it."""
        return "/".join(part for part in (NODE, self.name, topic) if part)


def find_cameras(
    recording: Recording,
    types: RecordedTypes,
    wanted: Sequence[str] = (),
    depth: Mapping[str, str] | None = None,
) -> tuple[CameraTopics, ...]:
    """Return the cameras that are to be processed, in the order of their names.

    Args:
        wanted: image topics, each alone or as ``NAME=TOPIC``; none: all with colour images; of an
            image that was recorded raw and compressed the raw one.
        depth: depth topics by the name of their camera, or by ``""`` for the only one.

    Raises:
        RecordingError: there are no such images; the message says which topics there are.
    """
    images = {
        topic.name: topic for topic in recording.topics if topic.type_name in (IMAGE, COMPRESSED)
    }
    named = dict(_named(text) for text in wanted)
    missing = [name for name in named if name not in images]
    if missing:
        raise RecordingError(
            f"'{recording.path}' has no images on {missing[0]}; {_what_there_is(recording)}"
        )
    chosen = list(named) or [
        name
        for name, topic in sorted(images.items())
        if _is_camera(recording, topic, types, images)
    ]
    if not chosen:
        raise RecordingError(f"'{recording.path}' has no images; {_what_there_is(recording)}")
    names = {topic: named.get(topic) or made for topic, made in _names(chosen).items()}
    if len(set(names.values())) < len(names):
        raise RecordingError(f"two cameras have one name: {names}")
    depth = dict(depth or {})
    cameras = tuple(
        CameraTopics(
            name=names[topic],
            image=topic,
            compressed=images[topic].type_name == COMPRESSED,
            info=_info_topic(topic),
            depth=depth.pop(names[topic], ""),
        )
        for topic in sorted(chosen, key=lambda topic: names[topic])
    )
    _check_depth(recording, cameras, depth)
    return cameras


def _named(text: str) -> tuple[str, str]:
    name, _, topic = text.rpartition("=")
    return topic, name


def _check_depth(
    recording: Recording, cameras: Sequence[CameraTopics], unknown: Collection[str]
) -> None:
    for name in unknown:
        known = ", ".join(repr(camera.name) for camera in cameras)
        raise RecordingError(f"depth is given for camera '{name}'; the cameras are {known}")
    topics = {topic.name: topic.type_name for topic in recording.topics}
    for camera in cameras:
        if camera.depth and topics.get(camera.depth) != IMAGE:
            raise RecordingError(
                f"depth is to be on {camera.depth}, which has "
                f"{topics.get(camera.depth, 'no messages')}; expected {IMAGE}"
            )


def _is_camera(
    recording: Recording, topic: Topic, types: RecordedTypes, images: Mapping[str, Topic]
) -> bool:
    """Tell whether a topic is a camera of its own: colour, no result, and not recorded twice."""
    if topic.count == 0 or topic.name.startswith(f"{NODE}/"):
        return False
    raw = topic.name.removesuffix(_COMPRESSED_SUFFIX)
    if topic.type_name == COMPRESSED and raw != topic.name and raw in images:
        return False
    message = recording.first(topic.name)
    return message is not None and _has_color(message, types)


def _has_color(message: Recorded, types: RecordedTypes) -> bool:
    try:
        image = types.deserialize(message.data, message.topic.type_name)
    except RecordingError:
        return True  # damaged; its frames are counted as such
    if message.topic.type_name == COMPRESSED:
        return "compressedDepth" not in image.format
    return image.encoding not in DEPTH_ENCODINGS


def _names(topics: Sequence[str]) -> dict[str, str]:
    """Return a short name for each topic: the part of it that the others do not share."""
    if len(topics) == 1:
        return {topics[0]: ""}
    parts = [_raw(topic).strip("/").split("/") for topic in topics]
    first = _shared(parts)
    last = _shared([part[first:][::-1] for part in parts])
    names = ["_".join(part[first : len(part) - last]) for part in parts]
    if not all(names) or len(set(names)) < len(names):
        names = ["_".join(topic.strip("/").split("/")) for topic in topics]
    return dict(zip(topics, names, strict=True))


def _shared(parts: Sequence[Sequence[str]]) -> int:
    """Return how many parts all begin with."""
    number = 0
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        number += 1
    return number


def _raw(topic: str) -> str:
    return topic.removesuffix(_COMPRESSED_SUFFIX)


def _info_topic(image: str) -> str:
    """Return where camera drivers put the calibration: beside the images."""
    return f"{_raw(image).rpartition('/')[0]}/camera_info"


def _what_there_is(recording: Recording) -> str:
    images = [topic.name for topic in recording.topics if topic.type_name in (IMAGE, COMPRESSED)]
    if images:
        return f"images are on {', '.join(sorted(images))}"
    others = ", ".join(sorted(topic.name for topic in recording.topics)) or "nothing at all"
    return f"it holds {others}"
