"""What a worker does with one recording, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rmpsam_ros.recordings.bag import BagOptions, process_bag
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.manifest import DONE, REFUSED
from rmpsam_ros.recordings.fleet.places import Output, Source, local_copy
from rmpsam_ros.recordings.settings import config_of

PATIENCE = 600.0  # s; a long recording is copied within it
LOADING_PATIENCE = 1800.0  # s; an engine is built within it


@dataclass(frozen=True)
class Setup:
    """What all workers have in common.

    Attributes:
        output: address of the results.
        device: where the network runs, instead of the parameter; empty: as that says.
        patience: seconds after which a worker that finishes no image counts as hanging.
    """

    options: BagOptions
    output: str
    device: str = ""
    patience: float = PATIENCE


class Worker:
    """Processes recordings with an engine that stays loaded.

    Args:
        beat: called whenever something is done.

    Raises:
        RecordingError: the network cannot be loaded.
    """

    def __init__(self, setup: Setup, beat: Callable[[], None] = lambda: None) -> None:
        from rmpsam_ros.pipeline import PipelineError, create_pipeline

        self._setup, self._beat = setup, beat
        config = config_of(setup.options.values, with_prompts=bool(setup.options.prompts))
        if setup.device:
            config = replace(config, network=replace(config.network, device=setup.device))
        try:
            self._pipeline = create_pipeline(config)
        except PipelineError as error:
            raise RecordingError(str(error)) from error
        self.engine = str(self._pipeline.engine_info)

    def run(self, source: Source) -> dict[str, Any]:
        """Process a recording, and return its entry in the manifest."""
        output = Output(self._setup.output)
        try:
            with local_copy(source.address) as path:
                if output.local is not None:
                    return self._process(path, output.local / source.name)
                with TemporaryDirectory(prefix="rmpsam_fleet_") as folder:
                    result = Path(folder) / Path(source.name).name
                    entry = self._process(path, result)
                    self._beat()
                    output.put(result, source.name)
                    return entry
        except RecordingError as error:
            return {"state": REFUSED, "reason": str(error), "engine": self.engine}

    def _process(self, path: Path, target: Path) -> dict[str, Any]:
        # What is there is of a run that was interrupted before it could say so, or out of date.
        report = process_bag(
            path,
            target,
            self._pipeline,
            self._setup.options,
            overwrite=True,
            progress=lambda done, total: self._beat(),
        )
        return {
            "state": DONE,
            "reason": "",
            "frames": report.frames,
            "failed_images": report.failed,
            "tracks": report.tracks,
            "seconds": round(report.seconds, 3),
            "engine": self.engine,
            "losses": report.losses(),
        }
