"""A recording in, a recording with results out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmpsam_ros import __version__
from rmpsam_ros.recordings.cameras import find_cameras
from rmpsam_ros.recordings.contact_sheet import CONTACT_SHEET, ContactSheet
from rmpsam_ros.recordings.data_sets import DataSetWriter, FrameChoice
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.events import LocatedFrame, ProcessedFrame, Sink
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.output import REPORT, OutputFolder
from rmpsam_ros.recordings.processing import Processing
from rmpsam_ros.recordings.prompts_file import read_prompts
from rmpsam_ros.recordings.reading import Recording
from rmpsam_ros.recordings.result_topics import DEFAULT_RESULTS, ResultTopics
from rmpsam_ros.recordings.topics import Recorded
from rmpsam_ros.recordings.writing import BagWriter

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import Pipeline

Progress = Callable[[int, int | None], None]  # images done, of how many


@dataclass(frozen=True)
class BagOptions:
    """What is done with a recording.

    Attributes:
        values: parameters of the node, all of them.
        cameras: image topics, see `find_cameras`; none: all.
        depth: depth topics by camera name.
        results: names of `RESULTS`.
        copied: patterns of further topics to be copied.
        prompts: a prompts file; empty: none.
        storage: mcap or sqlite3.
        contact_sheet: whether the result has an image with some frames, for people.
        export: one of `data_sets.FORMATS`: the result is a data set, not a recording; empty: no.
        every, on_change: which frames the data set has, see `FrameChoice`.
    """

    values: Mapping[str, Any]
    cameras: tuple[str, ...] = ()
    depth: Mapping[str, str] = field(default_factory=dict)
    results: tuple[str, ...] = DEFAULT_RESULTS
    copied: tuple[str, ...] = ()
    prompts: str = ""
    storage: str = "mcap"
    contact_sheet: bool = False
    export: str = ""
    every: int = 1
    on_change: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the options as JSON has them, to be compared with those of another run."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self), sort_keys=True))
        return content


@dataclass(frozen=True)
class BagReport:
    """What became of a recording.

    Attributes:
        content: what the report file of the result holds; the same for the same input.
        seconds: how long it took.
    """

    content: dict[str, Any]
    seconds: float

    @property
    def frames(self) -> int:
        """Images that were processed."""
        return sum(one["frames"] for one in self.content["cameras"].values())

    @property
    def failed(self) -> int:
        """Images that could not be processed."""
        return sum(sum(one["failed"].values()) for one in self.content["cameras"].values())

    @property
    def tracks(self) -> int:
        """Tracks that were confirmed."""
        return sum(one["tracks"] for one in self.content["cameras"].values())

    def losses(self) -> list[str]:
        """Return a line for everything that was not processed as it should be."""
        lines = list(self.content["damage"])
        for name, camera in self.content["cameras"].items():
            about = f" of camera {name}" if name else ""
            lines += [f"{n} images{about}: {why}" for why, n in camera["failed"].items()]
            lines += [
                f"{n} images{about} are damaged and used: {why}"
                for why, n in camera["damaged"].items()
            ]
            lines += [
                f"{n} results{about} without position: {why}"
                for why, n in camera["without_depth"].items()
            ]
        lines += [
            f"topic {topic} is not copied: {why}"
            for topic, why in self.content["not_copied"].items()
        ]
        lines += [f"prompt was not used: {place}" for place in self.content["unused_prompts"]]
        return lines


def process_bag(
    source: Path,
    target: Path,
    pipeline: Pipeline,
    options: BagOptions,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> BagReport:
    """Process a recording and write the results, all of them or none.

    The same source, options and engine give the same bytes.

    Args:
        pipeline: whose engines are used; it stays as it is.
        progress: called after every image.

    Raises:
        RecordingError: the recording cannot be read, or the result cannot be written.
    """
    started = time.monotonic()
    types = RecordedTypes()
    writer: BagWriter | None = None
    with (
        Recording(source) as recording,
        OutputFolder(target, overwrite) as folder,
        closing(_processing(recording, pipeline, options, types)) as processing,
    ):
        with ExitStack() as stack:
            sinks: list[Sink] = []
            if options.export:
                choice = FrameChoice(options.every, options.on_change)
                data_set = DataSetWriter(folder, options.export, choice)
                sinks.append(stack.enter_context(data_set))
            else:
                writer = stack.enter_context(BagWriter(folder, options.storage, types))
                sinks.append(ResultTopics(writer, types, options.results))
            if options.contact_sheet:
                sinks.append(stack.enter_context(ContactSheet(folder / CONTACT_SHEET)))
            _dispatch(processing, sinks, progress)
        content = report_content(recording, processing, pipeline, options)
        content["not_copied"] = {} if writer is None else dict(sorted(writer.refused.items()))
        report = BagReport(content, time.monotonic() - started)
        if not report.frames:
            reasons = "; ".join(report.losses()) or "there are none"
            raise RecordingError(f"'{source}': no image could be processed: {reasons}")
        (folder / REPORT).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return BagReport(content, time.monotonic() - started)


def report_content(
    recording: Recording, processing: Processing, pipeline: Pipeline, options: BagOptions
) -> dict[str, Any]:
    """Return what the report file of a result holds: nothing that depends on time or place."""
    return {
        "version": __version__,
        "source": recording.path.name,
        "engine": str(pipeline.engine_info),
        "labels": pipeline.label_set.name,
        "options": options.as_dict(),
        "cameras": {name: run.counts.as_dict() for name, run in processing.runs.items()},
        "damage": list(recording.damage),
        "not_copied": {},
        "unused_prompts": [
            one.place for run in processing.runs.values() for one in run.unused_prompts
        ],
    }


def _processing(
    recording: Recording, pipeline: Pipeline, options: BagOptions, types: RecordedTypes
) -> Processing:
    cameras = find_cameras(recording, types, options.cameras, options.depth)
    prompts = read_prompts(Path(options.prompts)) if options.prompts else ()
    return Processing(recording, cameras, pipeline, options.values, types, options.copied, prompts)


def _dispatch(processing: Processing, sinks: Sequence[Sink], progress: Progress) -> None:
    done = 0
    for event in processing.events():
        for sink in sinks:
            if isinstance(event, Recorded):
                sink.copy(event)
            elif isinstance(event, LocatedFrame):
                sink.located(event)
            else:
                sink.frame(event)
        if isinstance(event, ProcessedFrame):
            done += 1
            progress(done, processing.images)


def is_result_of(target: Path, source: Path, options: BagOptions) -> bool:
    """Tell whether a folder is the complete result of a recording with these options.

    Raises:
        RecordingError: it is something else, which is not to be replaced unasked.
    """
    if not target.exists():
        return False
    try:
        content = json.loads((target / REPORT).read_text("utf-8"))
        same = (content["source"], content["options"]) == (source.name, options.as_dict())
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise RecordingError(
            f"'{target}' is not the result of '{source}' with these options; use another place or "
            "--overwrite"
        )
    return True
