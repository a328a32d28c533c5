"""Pictures of coloured blocks on black, and engines that see exactly these blocks."""

import cv2
import numpy as np
import pytest

from rmpsam_ros.pipeline import Pipeline, PipelineConfig, PromptingConfig
from rmpsam_ros.prompting.answers import Answer, FoundMask, GridStep
from rmpsam_ros.prompting.refinement import anchor_prompt
from rmpsam_ros.runtime import EngineInfo, FrameOutput, ObjectOutput, PromptOutput
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
from rmpsam_ros.segmentation.run_length import encode_mask

LABELS = load_label_set("coco_panoptic")
PERSON = next(label.class_id for label in LABELS.labels if label.name == "person")
HEIGHT, WIDTH = 128, 192
RED, GREEN, BLUE = (220, 30, 30), (30, 220, 30), (30, 30, 220)


def draw_blocks(*blocks, size=(HEIGHT, WIDTH)):
    """An RGB picture with blocks (x, y, side, colour)."""
    image = np.zeros((*size, 3), np.uint8)
    for x, y, side, color in blocks:
        image[y : y + side, x : x + side] = color
    return image


def object_prompt(points=(), boxes=()):
    """A prompt of points (x, y, label) and boxes."""
    table = np.array(points, np.float32).reshape(-1, 3)
    return ObjectPrompt(
        points=table[:, :2],
        labels=table[:, 2].astype(np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
    )


def components(bright):
    """Masks of the blocks in a map of bright pixels, in the order of their first pixel."""
    number, labels = cv2.connectedComponents(bright.astype(np.uint8))
    return [labels == k for k in range(1, number)]


class BlockNetwork(HostSteps, Batches):
    """Every block is a person, by object queries as by prompts."""

    info = EngineInfo("blocks", "fp32", "cpu", "none", "none")
    num_queries = 8

    def __init__(self):
        self.iou = 0.9
        self.objects_found = True
        self.runs, self.decodes, self.boxes, self.asked = 0, 0, [], []
        self.error = None

    def run(self, image, boxes=None):
        if self.error is not None:
            raise self.error
        self.runs += 1
        self.boxes.append(boxes)
        bright = image[0, :, 2::4, 2::4].max(axis=0) > 0
        masks = np.full((self.num_queries, *bright.shape), -20.0, np.float32)
        classes = np.zeros((self.num_queries, LABELS.num_classes + 1), np.float32)
        classes[:, -1] = 20.0
        if self.objects_found:
            for k, mask in enumerate(components(bright)):
                masks[k][mask] = 20.0
                classes[k, [PERSON, -1]] = 20.0, 0.0
        queries = np.eye(self.num_queries, 256, dtype=np.float32)
        prompts = None if boxes is None else self._prompts(bright, boxes)
        return FrameOutput(bright, ObjectOutput(classes, masks, queries), prompts)

    def decode_prompts(self, features, boxes):
        self.decodes += 1
        self.asked.append(boxes)
        return self._prompts(features, boxes)

    def _prompts(self, bright, boxes):
        """The block that a box holds most of."""
        height, width = bright.shape
        logits = np.full((len(boxes), height, width), -20.0, np.float32)
        blocks = components(bright)
        for one, (x_min, y_min, x_max, y_max) in zip(logits, np.clip(boxes, 0, 1), strict=True):
            rows = slice(int(y_min * height), int(np.ceil(y_max * height)))
            columns = slice(int(x_min * width), int(np.ceil(x_max * width)))
            best = max(blocks, key=lambda block: block[rows, columns].sum(), default=None)
            if best is not None and best[rows, columns].any():
                one[best] = 20.0
        return PromptOutput(logits, np.full(len(boxes), self.iou, np.float32))

    def close(self):
        pass


class BlockPrompts:
    """A prompt engine with an encoder of its own: the image, which it looks at only if asked."""

    name, info, runs_beside = "blocks", "blocks (none)", True

    def __init__(self):
        self.encoded = []
        self.wait = lambda: None  # called before every answer

    def answer(self, frame, prompt):
        self.wait()
        bright = self._bright(frame)
        union = np.zeros(bright.shape, bool)
        seeds = [
            (x, y) for (x, y), label in zip(prompt.points, prompt.labels, strict=True) if label
        ]
        seeds += [((a + c) / 2, (b + d) / 2) for a, b, c, d in prompt.boxes]
        for block in components(bright):
            if any(block[int(y), int(x)] for x, y in seeds):
                union |= block
        return Answer(union, 0.8 if union.any() else 0.0)

    def look(self, frame, anchor, elapsed):
        return self.answer(frame, anchor_prompt(anchor))

    def in_boxes(self, frame, boxes):
        answers = [self.answer(frame, object_prompt(boxes=[box])) for box in boxes]
        return [FoundMask(encode_mask(one.mask), one.score) for one in answers]

    def on_grid(self, frame, points_per_side):
        found = [FoundMask(encode_mask(block), 0.9) for block in components(self._bright(frame))]
        points = points_per_side**2
        for asked in range(min(points, 64), points + 64, 64):
            if (yield GridStep(min(asked, points), found)):
                break
        return found * 3

    def close(self):
        pass

    def _bright(self, frame):
        if frame.embedding is None:
            self.encoded.append(frame.stamp)
            frame.embedding, frame.embedding_bytes = frame.rgb.max(axis=2) > 0, 1000
        return frame.embedding


@pytest.fixture
def network():
    return BlockNetwork()


@pytest.fixture
def beside():
    return BlockPrompts()


@pytest.fixture
def make_pipeline(network):
    def make(prompt_engine=None, **settings):
        config = PipelineConfig(
            long_side=WIDTH, short_side=HEIGHT, prompting=PromptingConfig(**settings)
        )
        return Pipeline(network, LABELS, config, prompt_engine)

    return make


@pytest.fixture
def blocks():
    return draw_blocks


@pytest.fixture
def ask():
    return object_prompt


@pytest.fixture
def colors():
    return RED, GREEN, BLUE


@pytest.fixture
def red(blocks, colors):
    """One red block of 32 pixels with its left edge at x."""
    return lambda x: blocks((x, 40, 32, colors[0]))
