"""Prompts from a command line, and the objects that they follow through a video."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmpsam_ros.pipeline import FrameResult, Pipeline
from rmpsam_ros.prompting import PromptedMask, PromptState
from rmpsam_ros.segmentation.coco_run_length import encode_coco
from rmpsam_ros.segmentation.prompt_types import FOREGROUND, ObjectPrompt


@dataclass(frozen=True)
class TimedPrompt:
    """A click or a box on the first frame at or after a time, seconds from the beginning."""

    text: str
    prompt: ObjectPrompt
    time: float


def parse_prompt(text: str) -> TimedPrompt:
    """Read ``x,y`` (a click) or ``x1,y1,x2,y2`` (a box), with ``@seconds`` behind it if not 0.

    Raises:
        ValueError: text of another form.
    """
    place, _, when = text.partition("@")
    try:
        numbers = [float(part) for part in place.split(",")]
        time = float(when) if when else 0.0
    except ValueError:
        numbers, time = [], math.nan
    if len(numbers) not in (2, 4) or not 0.0 <= time < math.inf:
        raise ValueError(
            f"'{text}' is no prompt; use x,y for a click or x1,y1,x2,y2 for a box, in pixels, and "
            "@seconds behind it for a later frame"
        )
    points = np.array(numbers if len(numbers) == 2 else [], np.float32).reshape(-1, 2)
    boxes = np.array(numbers if len(numbers) == 4 else [], np.float32).reshape(-1, 4)
    labels = np.full(len(points), FOREGROUND, np.uint8)
    return TimedPrompt(text, ObjectPrompt(points, labels, boxes), time)


class FollowedObjects:
    """Prompts objects at their times, follows them, and collects their masks.

    Given of every object, as JSON: ``prompt``, as it was given; ``segmentations``, a COCO
    run-length mask for every frame of the video, null before its prompt and while it is lost; and
    ``scores``, the predicted quality of each, 0 where there is none.
    """

    def __init__(self, prompts: list[TimedPrompt]) -> None:
        self._waiting = sorted(prompts, key=lambda prompt: prompt.time)
        self._texts: dict[str, str] = {}  # by object id
        self._masks: dict[str, dict[int, PromptedMask]] = {}
        self._num_frames = 0

    @property
    def waiting(self) -> list[TimedPrompt]:
        """Prompts whose time has not come yet."""
        return self._waiting

    def add(self, pipeline: Pipeline, result: FrameResult) -> tuple[PromptedMask, ...]:
        """Prompt and follow in a frame that was just processed, and return what was found.

        Raises:
            PromptError: a prompt is not acceptable, for example outside the image.
            EngineError, FloatingPointError: the prompt engine failed.
        """
        found = {mask.object_id: mask for mask in pipeline.prompts.follow() or result.prompted}
        while self._waiting and self._waiting[0].time <= result.stamp:
            timed = self._waiting.pop(0)
            answer = pipeline.prompts.prompt(timed.prompt, result.stamp, track=True)
            found[answer.object_id] = answer
            self._texts[answer.object_id] = timed.text
        for object_id, mask in found.items():
            self._masks.setdefault(object_id, {})[self._num_frames] = mask
        self._num_frames += 1
        return tuple(found.values())

    def to_json(self) -> list[dict[str, Any]]:
        """Return the objects in the order of their prompts."""
        return [
            {
                "prompt": self._texts[object_id],
                "segmentations": [self._segmentation(masks.get(k)) for k in self._frames()],
                "scores": [masks[k].score if k in masks else 0.0 for k in self._frames()],
            }
            for object_id, masks in self._masks.items()
        ]

    def summary(self) -> list[str]:
        """Return a line about every object."""
        lines = []
        for object_id, masks in self._masks.items():
            lost = sum(mask.state is PromptState.LOST for mask in masks.values())
            lines.append(
                f"{object_id} ({self._texts[object_id]}): found in {len(masks) - lost} of "
                f"{len(masks)} frames"
            )
        return lines

    def _frames(self) -> range:
        return range(self._num_frames)

    @staticmethod
    def _segmentation(found: PromptedMask | None) -> dict[str, Any] | None:
        return encode_coco(found.mask) if found is not None and found.mask.area else None
