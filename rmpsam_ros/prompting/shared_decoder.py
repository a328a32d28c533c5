"""The network itself as prompt engine: its decoder answers prompts as well as objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting.answers import Answer, FoundMask, Steps
from rmpsam_ros.prompting.frames import KeptFrame
from rmpsam_ros.prompting.refinement import anchor_prompt
from rmpsam_ros.runtime import Engine, PromptOutput
from rmpsam_ros.segmentation.everything import point_grid
from rmpsam_ros.segmentation.preprocess import Geometry
from rmpsam_ros.segmentation.prompts import (
    FOREGROUND,
    ObjectPrompt,
    combine_prompt_masks,
    prompt_boxes,
)
from rmpsam_ros.segmentation.run_length import encode_mask
from rmpsam_ros.tracking.prompted_records import Anchor

_PROMPTS_AT_ONCE = 64  # mask logits of more take too much memory at large inputs
_LEAST_GRID_SCORE = 0.7


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
        boxes, signs = prompt_boxes(prompt, frame.geometry, self._padded)
        output = self._engine.decode_prompts(frame.features, boxes)
        return _answer(output, signs, frame.geometry)

    def follow_prompt(self, anchor: Anchor) -> ObjectPrompt:
        """The box alone: the network takes every prompt as a query of its own, so that a point
        would add what else it claims (see `segmentation.prompts`)."""
        prompt = anchor_prompt(anchor)
        return ObjectPrompt(prompt.points[:0], prompt.labels[:0], prompt.boxes)

    def in_boxes(self, frame: KeptFrame, boxes: NDArray[np.float32]) -> list[FoundMask]:
        return [
            FoundMask(encode_mask(answer.mask), answer.score)
            for answer in self._each(frame, ObjectPrompt(_NO_POINTS, _NO_LABELS, boxes))
        ]

    def on_grid(self, frame: KeptFrame, points_per_side: int) -> Steps[list[FoundMask]]:
        points = point_grid(points_per_side, *frame.geometry.image_size) - 0.5
        labels = np.full(len(points), FOREGROUND, np.uint8)
        prompt = ObjectPrompt(points.astype(np.float32), labels, _NO_BOXES)
        found = []
        for count, answer in enumerate(self._each(frame, prompt), start=1):
            if answer.score >= _LEAST_GRID_SCORE:
                found.append(FoundMask(encode_mask(answer.mask), answer.score))
            if count % _PROMPTS_AT_ONCE == 0:
                yield
        return found

    def pass_boxes(
        self, prompts: Sequence[ObjectPrompt], geometry: Geometry
    ) -> tuple[NDArray[np.float32], list[NDArray[np.int8]]]:
        """Return all prompts as boxes for `Engine.run`, (K, 4), and the signs of each."""
        pairs = [prompt_boxes(prompt, geometry, self._padded) for prompt in prompts]
        return np.concatenate([boxes for boxes, _ in pairs]), [signs for _, signs in pairs]

    def pass_answers(
        self, output: PromptOutput, signs: Sequence[NDArray[np.int8]], geometry: Geometry
    ) -> list[Answer]:
        """Return the answers to `pass_boxes` from the output of its pass.

        An answer that is not finite is an empty mask: it must not cost the frame its result.
        """
        answers, first = [], 0
        for own in signs:
            part = slice(first, first := first + len(own))
            own_output = PromptOutput(output.mask_logits[part], output.iou[part])
            try:
                answers.append(_answer(own_output, own, geometry))
            except FloatingPointError:
                answers.append(Answer(np.zeros(geometry.image_size, np.bool_), 0.0))
        return answers

    def close(self) -> None:
        """Nothing: the network is closed by its owner."""

    def _each(self, frame: KeptFrame, prompts: ObjectPrompt) -> Iterator[Answer]:
        """Answer every point and box of a prompt as an object of its own."""
        boxes, signs = prompt_boxes(prompts, frame.geometry, self._padded)
        for start in range(0, len(boxes), _PROMPTS_AT_ONCE):
            part = slice(start, start + _PROMPTS_AT_ONCE)
            output = self._engine.decode_prompts(frame.features, boxes[part])
            for k in range(len(output.iou)):
                one = PromptOutput(output.mask_logits[k : k + 1], output.iou[k : k + 1])
                yield _answer(one, signs[:1], frame.geometry)


_NO_POINTS = np.zeros((0, 2), np.float32)
_NO_LABELS = np.zeros(0, np.uint8)
_NO_BOXES = np.zeros((0, 4), np.float32)


def _answer(output: PromptOutput, signs: NDArray[np.int8], geometry: Geometry) -> Answer:
    return Answer(*combine_prompt_masks(output.mask_logits, signs, output.iou, geometry))
