"""Scripted scenes for the tracker: named things with noisy queries at changing places."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rmpsam_ros.tracking import Detection, QueryTracker, Track, TrackerConfig, TrackState
from rmpsam_ros.tracking.prompted import PromptedObjects

HERE = Path(__file__).resolve().parent
NUM_QUERIES, WIDTH = 100, 256
Box = tuple[float, float, float, float]


def _make_importable(name: str) -> None:
    """Let the tests import a module beside this one, which is in no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec and spec.loader
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


_make_importable("prompted_answers")


@dataclass
class Scene:
    """Makes frames and runs them through a tracker.

    Queries are like those after the object adapter: not negative, about half zeros, with a large
    common direction; their order changes from frame to frame, so that no slot means anything.
    """

    config: TrackerConfig = field(default_factory=TrackerConfig)
    seed: int = 0
    noise: float = 0.4
    with_boxes: bool = True

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.tracker = QueryTracker(self.config)
        self.bases = self.rng.normal(0.5, 1.0, (NUM_QUERIES, WIDTH)).astype(np.float32)
        self.rows: dict[str, int] = {}

    def base(self, name: str) -> NDArray[np.float32]:
        """Return the noise-free query (before the ReLU) of a thing, to look at or to change."""
        return self.bases[self.rows.setdefault(name, len(self.rows))]

    def make_alike(self, name: str, other: str, share: float) -> None:
        """Give a thing a share of another one's query (1: nothing tells them apart)."""
        mixed = share * self.base(other) + (1.0 - share) * self.base(name)
        self.base(name)[:] = mixed

    def frame(
        self, visible: Mapping[str, Box | None], classes: Mapping[str, int], score: float
    ) -> tuple[NDArray[np.float32], list[Detection], list[str]]:
        """Return queries, detections and the names of the things, in one order."""
        for name in visible:
            self.base(name)
        order = self.rng.permutation(NUM_QUERIES)
        values = self.bases + np.float32(self.noise) * self.rng.standard_normal(
            self.bases.shape, np.float32
        )
        queries = np.maximum(values, 0.0)[order]
        place = np.argsort(order)
        names = list(visible)
        detections = [
            Detection(
                segment_id=segment,
                query=int(place[self.rows[name]]),
                class_id=classes.get(name, 0),
                score=score,
                box=visible[name] if self.with_boxes else None,
            )
            for segment, name in enumerate(names, start=1)
        ]
        return queries, detections, names

    def show(
        self,
        stamp: float,
        visible: Sequence[str] | Mapping[str, Box | None],
        classes: Mapping[str, int] | None = None,
        score: float = 0.9,
    ) -> dict[str, Track]:
        """Run one frame and return the track of each visible thing; the rest is in `tracks`."""
        places = visible if isinstance(visible, Mapping) else dict.fromkeys(visible)
        queries, detections, names = self.frame(places, classes or {}, score)
        self.tracks = self.tracker.update(stamp, queries, detections)
        by_segment = {t.segment_id: t for t in self.tracks if t.state is not TrackState.LOST}
        assert len(by_segment) == len(detections), "every detection has exactly one track"
        return {name: by_segment[segment] for segment, name in enumerate(names, start=1)}

    def states(self) -> dict[int, TrackState]:
        """Return the state of every track of the newest frame."""
        return {track.id: track.state for track in self.tracks}


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """Return the class that makes scenes."""
    return Scene


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder with the reference's matching and clip tables."""
    return HERE.parent / "goldens" / "tracking"


@pytest.fixture
def objects() -> PromptedObjects:
    """Return prompted objects of which three may be followed."""
    return PromptedObjects(max_objects=3)
