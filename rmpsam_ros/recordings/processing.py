"""Every frame of a recording through the pipeline, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rmpsam_ros.node.parameters.configuration import fusion_config
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.parameters.settings import Settings
from rmpsam_ros.recordings.camera_run import CameraRun, Event
from rmpsam_ros.recordings.cameras import CameraTopics
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.prompts_file import RecordedPrompt
from rmpsam_ros.recordings.reading import Recording
from rmpsam_ros.recordings.topics import Recorded

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline

ALWAYS_COPIED = ("/tf", "/tf_static")


class Processing:
    """One recording on its way through the pipeline.

    Every camera gets a pipeline of its own on the engines of the given one: track ids begin at 1
    in every recording, whatever was processed before.

    Args:
        values: parameters of the node.
        copied: patterns of topics that are given as they are, beside the transforms and the
            calibrations of the cameras; ``*`` stands for anything.
        prompts: of all cameras.

    Raises:
        RecordingError: the class filter or a prompt's camera does not exist.

    Attributes:
        runs: the cameras, by name.
        images: how many images there are; None: unknown.
    """

    def __init__(
        self,
        recording: Recording,
        cameras: Sequence[CameraTopics],
        pipeline: Pipeline,
        values: Mapping[str, Any],
        types: RecordedTypes,
        copied: Collection[str] = (),
        prompts: Sequence[RecordedPrompt] = (),
    ) -> None:
        self._recording = recording
        try:
            fusion = fusion_config(Settings(**values), pipeline.label_set)
        except ParameterError as error:
            raise RecordingError(str(error)) from error
        by_camera = _by_camera(prompts, cameras)
        self._pipelines = [pipeline.for_another_camera() for _ in cameras]
        for one in self._pipelines:
            one.fusion = fusion
            one.prompts.limit(values["max_prompts"])
        self.runs = {
            camera.name: CameraRun(camera, pipeline, values, types, by_camera[camera.name])
            for camera, pipeline in zip(cameras, self._pipelines, strict=True)
        }
        self._images = {camera.image: self.runs[camera.name] for camera in cameras}
        self._depths = {camera.depth: self.runs[camera.name] for camera in cameras if camera.depth}
        self._infos: dict[str, list[CameraRun]] = {}
        for camera in cameras:
            self._infos.setdefault(camera.info, []).append(self.runs[camera.name])
        patterns = (*ALWAYS_COPIED, *self._infos, *copied)
        self._copied = {
            topic.name
            for topic in recording.topics
            if any(fnmatchcase(topic.name, pattern) for pattern in patterns)
        }
        counts = [topic.count for topic in recording.topics if topic.name in self._images]
        known = [count for count in counts if count is not None]
        self.images = sum(known) if len(known) == len(counts) else None

    def events(self) -> Iterator[Event | Recorded]:
        """Yield frames, positions, and messages to be copied, in the order of their turn."""
        wanted = {*self._images, *self._depths, *self._infos, *self._copied}
        for topic, runs in self._infos.items():
            first = self._recording.first(topic) if any(run.depth for run in runs) else None
            if first is not None:  # it holds for images before it, too
                self._calibrate(runs, first)
        for recorded in self._recording.messages(wanted):
            name = recorded.topic.name
            if name in self._copied:
                yield recorded
            if name in self._images:
                yield from self._images[name].add(recorded)
            elif name in self._depths:
                run = self._depths[name]
                assert run.depth is not None
                run.depth.add_depth(recorded)
                yield from run.located()
            elif name in self._infos:
                self._calibrate(self._infos[name], recorded)
        for run in self.runs.values():
            yield from run.rest()

    def close(self) -> None:
        """Give back what the cameras hold; the pipeline that was given stays."""
        for pipeline in self._pipelines:
            pipeline.close()

    @staticmethod
    def _calibrate(runs: Sequence[CameraRun], recorded: Recorded) -> None:
        for run in runs:
            if run.depth is not None:
                run.depth.add_info(recorded)


def _by_camera(
    prompts: Sequence[RecordedPrompt], cameras: Sequence[CameraTopics]
) -> dict[str, list[RecordedPrompt]]:
    found: dict[str, list[RecordedPrompt]] = {camera.name: [] for camera in cameras}
    for prompt in prompts:
        if prompt.camera not in found:
            known = ", ".join(repr(name) for name in found)
            raise RecordingError(f"{prompt.place}: camera is '{prompt.camera}'; expected {known}")
        found[prompt.camera].append(prompt)
    return found
