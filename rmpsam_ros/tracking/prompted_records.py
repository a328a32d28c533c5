"""Inputs and outputs of the life cycle of prompted objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
    from rmpsam_ros.segmentation.run_length import RunLengthMask

MAX_ID_LENGTH = 128  # of an object's id, characters


class PromptState(IntEnum):
    """State of a prompted object; the values are those of the PromptedMask message."""

    SINGLE = 0  # answered for one frame, not followed
    TRACKED = 1  # followed, and found in the newest frame that was searched
    LOST = 2  # followed, and not found in it


class TooManyPromptsError(RuntimeError):
    """As many objects as allowed are followed already."""


@dataclass(frozen=True, eq=False, slots=True)
class Anchor:
    """Where an object was seen, in pixels of an image of ``image_size`` (height, width).

    Attributes:
        box: x_min, y_min, x_max, y_max; edges, (0, 0, 1, 1) is the top left pixel.
        points: (P, 2) float32 x, y of pixels deep inside it, at least one.
    """

    box: tuple[float, float, float, float]
    points: NDArray[np.float32]
    image_size: tuple[int, int]

    def scaled(self, image_size: tuple[int, int]) -> Anchor:
        """Return the same place in an image of another size (the camera was set anew)."""
        if image_size == self.image_size:
            return self
        y, x = (new / old for new, old in zip(image_size, self.image_size, strict=True))
        x_min, y_min, x_max, y_max = self.box
        points = (self.points + np.float32(0.5)) * np.array([x, y], np.float32) - np.float32(0.5)
        return Anchor((x_min * x, y_min * y, x_max * x, y_max * y), points, image_size)


@dataclass(frozen=True, eq=False, slots=True)
class Observation:
    """What one frame answered when it was prompted for one object.

    Attributes:
        stamp: time of the frame, seconds.
        score: quality that the model predicts for its mask, 0 to 1.
        mask: at image size; may be empty.
        anchor: where the mask is; for an empty one, where it was asked for.
        appearance: (D,) float32 unit vector; zeros if the mask is empty.
        coverage: intersection over union of the mask with every confirmed panoptic track that the
            frame shows, by track id.
        queries: the object queries that show the same as the mask.
        embeddings: (len(queries), D) float32 their embeddings, unit vectors as the tracker
            compares them.
        prompt: the clicks and boxes of a person; None for the prompts of following.
    """

    stamp: float
    score: float
    mask: RunLengthMask
    anchor: Anchor
    appearance: NDArray[np.float32]
    coverage: Mapping[int, float] = field(default_factory=dict)
    queries: tuple[int, ...] = ()
    embeddings: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    prompt: ObjectPrompt | None = None


@dataclass(frozen=True, eq=False, slots=True)
class PromptedMask:
    """Mask of a prompted object.

    Attributes:
        mask: at image size; empty when lost.
        score: predicted quality, 0 to 1; 0 when lost.
        stamp: time of the frame that the mask belongs to, seconds.
        object_id: as given, or made; empty for the masks of `segment_everything`.
        state: single, tracked or lost.
        track_id: panoptic track that the object is part of; 0: none.
        reason: why it is lost, for people; empty otherwise.
    """

    mask: RunLengthMask
    score: float
    stamp: float
    object_id: str = ""
    state: PromptState = PromptState.SINGLE
    track_id: int = 0
    reason: str = ""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class PromptedObject(PromptedMask):
    """A prompted object: its mask in the newest frame that was searched for it, and its history.

    Attributes:
        first_seen, last_seen: times of the first prompt and of the newest frame that shows it.
        prompt: clicks and boxes that a person gave on the frame ``prompt_stamp``, all together.
    """

    first_seen: float
    last_seen: float
    prompt: ObjectPrompt | None
    prompt_stamp: float


@dataclass(frozen=True, eq=False, slots=True)
class Following:
    """Where to look for a followed object in the next frame.

    Attributes:
        version: which prompt of a person this follows; answers to older ones do not count.
        anchor: where it was seen last.
        track_id: the panoptic track whose place is to be preferred to the anchor where the frame
            shows that track; 0: none.
        elapsed: seconds since it was seen there.
    """

    object_id: str
    version: int
    anchor: Anchor
    track_id: int
    elapsed: float


@dataclass(frozen=True, slots=True)
class FollowConfig:
    """When an answer is still the followed object.

    Attributes:
        min_score: least predicted quality of its mask, 0 to 1.
        area_ratio: by what factor its area may differ from the remembered one; squared when the
            object has not been seen for a second or more.
        min_similarity: least cosine between its appearance and the remembered one.
        found_similarity: the same for one that is lost, which must not be taken for its
            neighbour.
        guard_overlap: its track shows elsewhere if they overlap less than this (intersection over
            union), and the answer is then not the object.
        query_similarity: least cosine between an object query of the frame and the remembered
            one, for it to be the object; as `TrackerConfig.continue_similarity`.
        found_query_similarity: the same for one that is lost; as `TrackerConfig.reid_similarity`.
        lost_seconds: an object lost for longer gives way when there is no room for a new one.
    """

    min_score: float = 0.5
    area_ratio: float = 3.0
    min_similarity: float = 0.5
    found_similarity: float = 0.7
    guard_overlap: float = 0.1
    query_similarity: float = 0.4
    found_query_similarity: float = 0.6
    lost_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that makes no sense."""
        limits = {
            "min_score": (0.0, 1.0),
            "area_ratio": (1.0, math.inf),
            "min_similarity": (-1.0, 1.0),
            "found_similarity": (-1.0, 1.0),
            "guard_overlap": (0.0, 1.0),
            "query_similarity": (-1.0, 1.0),
            "found_query_similarity": (-1.0, 1.0),
            "lost_seconds": (0.0, math.inf),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} is {value}; expected a number from {low:g} to {high:g}")
