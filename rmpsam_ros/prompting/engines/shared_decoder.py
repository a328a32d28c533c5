"""The network itself as prompt engine: its decoder answers prompts as well as objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting.answers import (
    Answer,
    FoundMask,
    GridStep,
    GridSteps,
    PromptEngineError,
)
from rmpsam_ros.prompting.config import PromptingConfig
from rmpsam_ros.prompting.frames import KeptFrame
from rmpsam_ros.prompting.grid_prompts import point_grid
from rmpsam_ros.prompting.load import Progress, register
from rmpsam_ros.prompting.refinement import anchor_prompt
from rmpsam_ros.runtime import Engine, EngineConfig, ObjectOutput, PromptOutput
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.prompt_types import FOREGROUND, ObjectPrompt, prompt_boxes
from rmpsam_ros.segmentation.prompted_object import BOX_MARGIN, object_mask, query_mask
from rmpsam_ros.segmentation.run_length import encode_mask
from rmpsam_ros.tracking.prompted_records import Anchor

_PROMPTS_AT_ONCE = 64  # mask logits of more take too much memory at large inputs
_MIN_GRID_SCORE = 0.7
# How far an object may move or grow beyond its last box, in sizes of it: a second, least, most.
_SPEED, _MIN_REACH, _MAX_REACH = 6.0, 0.25, 1.0


class SharedDecoder:
    """Engine ``rmpsam``: a prompt costs one pass of the decoder over the kept features.

    It runs in the network's thread, and followed objects are answered in the same pass as the
    panoptic objects (`pass_boxes`, `pass_answers`).
    """

    name = "rmpsam"
    runs_beside = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._padded = engine.info.padded_boxes
        self.info = f"{self.name} ({engine.info.weights}), the network's own decoder"

    def answer(self, frame: KeptFrame, prompt: ObjectPrompt) -> Answer:
        """Return the mask of one object, cut to the margin around its prompts."""
        return self._ask(frame, prompt, BOX_MARGIN)

    def look(self, frame: KeptFrame, anchor: Anchor, elapsed: float) -> Answer:
        """Return the mask of what was at ``anchor`` ``elapsed`` seconds before."""
        return self._ask(frame, _follow_prompt(anchor), _reach(elapsed))

    def in_boxes(self, frame: KeptFrame, boxes: NDArray[np.float32]) -> list[FoundMask]:
        """Return a mask for each box, (K, 4) edges in image pixels."""
        return [
            FoundMask(encode_mask(answer.mask), answer.score)
            for answer in self._each(frame, ObjectPrompt(_NO_POINTS, _NO_LABELS, boxes))
        ]

    def on_grid(self, frame: KeptFrame, points_per_side: int) -> GridSteps:
        """Return masks from a square grid of points, those with a score above the threshold."""
        points = point_grid(points_per_side, *frame.geometry.image_size) - 0.5
        labels = np.full(len(points), FOREGROUND, np.uint8)
        prompt = ObjectPrompt(points.astype(np.float32), labels, _NO_BOXES)
        found: list[FoundMask] = []
        told = 0
        for count, answer in enumerate(self._each(frame, prompt), start=1):
            if answer.score >= _MIN_GRID_SCORE:
                found.append(FoundMask(encode_mask(answer.mask), answer.score))
            if count % _PROMPTS_AT_ONCE == 0 or count == len(points):
                if (yield GridStep(count, found[told:])):
                    break
                told = len(found)
        return found

    def pass_boxes(self, anchors: Sequence[Anchor], geometry: Letterbox) -> NDArray[np.float32]:
        """Return what looks for objects at their anchors in `Engine.run`, (K, 4), one each."""
        boxes = [
            prompt_boxes(_follow_prompt(anchor), geometry, self._padded)[0] for anchor in anchors
        ]
        return np.concatenate(boxes)

    def pass_answers(
        self,
        output: PromptOutput,
        anchors: Sequence[Anchor],
        elapsed: Sequence[float],
        geometry: Letterbox,
    ) -> list[Answer]:
        """Return the answers to `pass_boxes` from the output of its pass.

        An answer that is not finite is an empty mask: it must not cost the frame its result.

        Args:
            elapsed: seconds since each object was at its anchor.
        """
        answers = []
        for k, (anchor, seconds) in enumerate(zip(anchors, elapsed, strict=True)):
            own = PromptOutput(output.mask_logits[k : k + 1], output.iou[k : k + 1])
            try:
                answers.append(_answer(own, _follow_prompt(anchor), geometry, _reach(seconds)))
            except FloatingPointError:
                answers.append(Answer(np.zeros(geometry.image_size, np.bool_), 0.0))
        return answers

    def query_answer(self, objects: ObjectOutput, query: int, geometry: Letterbox) -> Answer:
        """Return the mask of an object query, and the mean probability inside it as its score."""
        return Answer(*query_mask(objects.mask_logits, query, geometry))

    def close(self) -> None:
        """Nothing: the network is closed by its owner."""

    def _ask(self, frame: KeptFrame, prompt: ObjectPrompt, margin: float) -> Answer:
        boxes, _ = prompt_boxes(prompt, frame.geometry, self._padded)
        output = self._engine.decode_prompts(frame.features, boxes)
        return _answer(output, prompt, frame.geometry, margin)

    def _each(self, frame: KeptFrame, prompts: ObjectPrompt) -> Iterator[Answer]:
        """Answer every point and box of a prompt as an object of its own."""
        boxes, _ = prompt_boxes(prompts, frame.geometry, self._padded)
        none = ObjectPrompt(_NO_POINTS, _NO_LABELS, _NO_BOXES)
        each = [
            *(
                replace(none, points=point[None], labels=label[None])
                for point, label in zip(prompts.points, prompts.labels, strict=True)
            ),
            *(replace(none, boxes=box[None]) for box in prompts.boxes),
        ]
        for start in range(0, len(boxes), _PROMPTS_AT_ONCE):
            part = slice(start, start + _PROMPTS_AT_ONCE)
            output = self._engine.decode_prompts(frame.features, boxes[part])
            for k, prompt in enumerate(each[part]):
                one = PromptOutput(output.mask_logits[k : k + 1], output.iou[k : k + 1])
                yield _answer(one, prompt, frame.geometry, BOX_MARGIN)


@register("rmpsam")
def load(
    config: PromptingConfig,
    network: EngineConfig,
    progress: Progress,
    cancelled: threading.Event | None,
) -> None:
    """Check that nothing is asked for that it has not: it is a `SharedDecoder` of the network."""
    if config.weights:
        raise PromptEngineError(
            f"prompt engine 'rmpsam' has no weights of its own, got '{config.weights}'; leave "
            "them empty, or choose another engine"
        )


_NO_POINTS = np.zeros((0, 2), np.float32)
_NO_LABELS = np.zeros(0, np.uint8)
_NO_BOXES = np.zeros((0, 4), np.float32)


def _reach(elapsed: float) -> float:
    """Return by what share of its size the last box of an object is enlarged on each side."""
    return min(_MAX_REACH, max(_MIN_REACH, _SPEED * elapsed))


def _follow_prompt(anchor: Anchor) -> ObjectPrompt:
    """Return the prompt that asks for what was at a place: its box alone.

    The network takes every prompt as a query of its own, so that a point would add what else it
    claims (see `segmentation.prompts`).
    """
    prompt = anchor_prompt(anchor)
    return ObjectPrompt(_NO_POINTS, _NO_LABELS, prompt.boxes)


def _answer(
    output: PromptOutput, prompt: ObjectPrompt, geometry: Letterbox, margin: float
) -> Answer:
    return Answer(*object_mask(output.mask_logits, output.iou, prompt, geometry, margin))
