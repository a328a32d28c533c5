"""All of what a new prompt engine takes: the box of a prompt is its mask."""

from __future__ import annotations

import numpy as np

from rmpsam_ros.prompting.answers import Answer, GridStep
from rmpsam_ros.prompting.load import register


class ToyPrompts:
    """Answers boxes with themselves."""

    name = "toy"
    info = "toy, nothing else"
    runs_beside = True

    def answer(self, frame, prompt):
        mask = np.zeros(frame.geometry.image_size, np.bool_)
        for x_min, y_min, x_max, y_max in prompt.boxes.astype(int):
            mask[y_min:y_max, x_min:x_max] = True
        return Answer(mask, 1.0)

    def look(self, frame, anchor, elapsed):
        raise NotImplementedError

    def in_boxes(self, frame, boxes):
        return []

    def on_grid(self, frame, points_per_side):
        yield GridStep(points_per_side**2, [])
        return []

    def close(self):
        pass


@register("toy")
def load(config, network, progress, cancelled):
    return ToyPrompts()
