"""The interface of everything that answers prompts on a kept frame."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting.frames import KeptFrame
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
from rmpsam_ros.segmentation.run_length import RunLengthMask
from rmpsam_ros.tracking.prompted_records import Anchor


class PromptEngineError(RuntimeError):
    """A prompt engine cannot be made; the message is one line that says what to do."""


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """Mask of one object, (H, W) bool at image size, and its predicted quality, 0 to 1."""

    mask: NDArray[np.bool_]
    score: float


@dataclass(frozen=True, eq=False, slots=True)
class FoundMask:
    """One of the masks of everything, as run lengths, and its predicted quality, 0 to 1."""

    mask: RunLengthMask
    score: float


class GridStep(NamedTuple):
    """Where the work on a grid of points is.

    Attributes:
        asked: how many points have been asked for.
        found: good masks since the last step, not yet compared with others.
    """

    asked: int
    found: list[FoundMask]


GridSteps: TypeAlias = Generator[GridStep, bool | None, list[FoundMask]]
"""Yields after every few points; sending True asks to end with what there is."""


class PromptEngine(Protocol):
    """Answers prompts on kept frames; all methods are called from one thread.

    Attributes:
        name: as in `PROMPT_ENGINES`.
        info: model, weights and what executes them, for people.
        runs_beside: whether it has an image encoder of its own, and may therefore run in another
            thread than the network. Otherwise it is called from the network's thread.
    """

    name: str
    info: str
    runs_beside: bool

    def answer(self, frame: KeptFrame, prompt: ObjectPrompt) -> Answer:
        """Return the mask of one object; the prompt has passed `validate_prompt`."""
        ...

    def look(self, frame: KeptFrame, anchor: Anchor, elapsed: float) -> Answer:
        """Return the mask of what was at ``anchor`` ``elapsed`` seconds before."""
        ...

    def in_boxes(self, frame: KeptFrame, boxes: NDArray[np.float32]) -> list[FoundMask]:
        """Return a mask for each box, (K, 4) edges in image pixels."""
        ...

    def on_grid(self, frame: KeptFrame, points_per_side: int) -> GridSteps:
        """Return masks from a square grid of points over the image, good ones only."""
        ...

    def close(self) -> None:
        """Give back device memory; the engine is not used afterwards."""
        ...
