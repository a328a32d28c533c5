"""Writes the results of processed frames as the node publishes them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from rmpsam_ros.messages import MessageFiller
from rmpsam_ros.recordings.cameras import NODE
from rmpsam_ros.recordings.events import LocatedFrame, ProcessedFrame
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.topics import Recorded
from rmpsam_ros.recordings.writing import BagWriter

RESULTS = ("panoptic", "tracks", "prompts", "semantic", "instance", "overlay", "positions")
DEFAULT_RESULTS = ("panoptic", "tracks", "prompts", "positions")  # small enough for every bag


class ResultTopics:
    """Fills and writes the wanted messages of every frame.

    Every message has the header of its image, and the time at which that was recorded.

    Args:
        wanted: names of `RESULTS`.
    """

    def __init__(self, writer: BagWriter, types: RecordedTypes, wanted: Collection[str]) -> None:
        self._writer, self._types, self._wanted = writer, types, wanted
        self._filler = MessageFiller(types)
        self._labels_written = False
        self._prompts_shown: set[str] = set()
        # Filled again for every frame, as in the node.
        self._panoptic, self._tracks = types.PanopticSegmentation(), types.InstanceTrackArray()
        self._semantic, self._instance = types.Image(), types.Image()
        self._overlay = types.Image()

    def frame(self, frame: ProcessedFrame) -> None:
        """Write everything of a frame but its positions."""
        filler, header, result = self._filler, frame.header, frame.result
        pipeline, labels = frame.pipeline, frame.pipeline.label_set
        if not self._labels_written:
            self._labels_written = True
            table = filler.label_table(labels)
            self._writer.write(f"{NODE}/label_info", frame.time, table, latched=True)
        fills: dict[str, tuple[str, Callable[[], Any]]] = {
            "panoptic": (
                "panoptic",
                lambda: filler.fill_panoptic(self._panoptic, header, result, labels),
            ),
            "tracks": (
                "tracks",
                lambda: filler.fill_tracks(self._tracks, header, result, labels),
            ),
            "semantic": (
                "panoptic/semantic",
                lambda: filler.fill_semantic(self._semantic, header, result, pipeline),
            ),
            "instance": (
                "panoptic/instance",
                lambda: filler.fill_instance(self._instance, header, result, pipeline),
            ),
            "prompts": (
                "prompted_masks",
                lambda: filler.prompted_masks(header, result.prompted, frame.headers),
            ),
            "overlay": ("overlay", lambda: self._draw(frame)),
        }
        for name, (topic, fill) in fills.items():
            if name in self._wanted and (name != "prompts" or self._prompts_show(frame)):
                self._writer.write(frame.camera.own(topic), frame.time, fill())

    def located(self, frame: LocatedFrame) -> None:
        """Write where the tracks of a frame are."""
        if "positions" in self._wanted:
            message = self._filler.positions(
                frame.header, frame.offset, frame.located, frame.pipeline.label_set
            )
            self._writer.write(frame.camera.own("positions"), frame.time, message)

    def copy(self, recorded: Recorded) -> None:
        """Write a message as it was recorded."""
        self._writer.copy(recorded)

    def _prompts_show(self, frame: ProcessedFrame) -> bool:
        """Tell whether there are masks, or the last ones have just gone."""
        name, shown = frame.camera.name, bool(frame.result.prompted)
        before = name in self._prompts_shown
        (self._prompts_shown.add if shown else self._prompts_shown.discard)(name)
        return shown or before

    def _draw(self, frame: ProcessedFrame) -> Any:
        return self._filler.fill_image(self._overlay, frame.header, frame.overlay(), "rgb8")
