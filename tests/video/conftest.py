"""Pictures of coloured blocks on black, and a network to which every block is a thing."""

import cv2
import numpy as np
import pytest

from rmpsam_ros.pipeline import Pipeline, PipelineConfig
from rmpsam_ros.runtime import EngineError, EngineInfo, FrameOutput, ObjectOutput, PromptOutput
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.labels import load_label_set

LABELS = load_label_set("youtube_vis_2019")
HEIGHT, WIDTH = 64, 96
COLORS = {"person": (255, 0, 0), "dog": (0, 255, 0)}  # RGB; the class of a block is its colour


class BlockNetwork(HostSteps, Batches):
    """One query per colour; prompts find the block that their box holds most of."""

    info = EngineInfo("blocks", "fp32", "cpu", "none", "none")

    def __init__(self):
        self.error_at = None
        self.runs = 0

    def run(self, image, boxes=None):
        self.runs += 1
        if self.runs == self.error_at:
            raise EngineError("the network failed")
        bright = image[0, :, 2::4, 2::4] > 0
        names = [label.name for label in LABELS.labels]
        masks = np.full((4, *bright.shape[1:]), -20.0, np.float32)
        classes = np.zeros((4, LABELS.num_classes + 1), np.float32)
        classes[:, -1] = 20.0
        for query, (channel, name) in enumerate(((0, "person"), (1, "dog"))):
            if bright[channel].any():
                masks[query][bright[channel]] = 20.0
                classes[query, [names.index(name), -1]] = 20.0, 17.0
        objects = ObjectOutput(classes, masks, np.eye(4, 256, dtype=np.float32))
        prompts = None if boxes is None else self.decode_prompts(bright, boxes)
        return FrameOutput(bright, objects, prompts)

    def decode_prompts(self, features, boxes):
        height, width = features.shape[1:]
        logits = np.full((len(boxes), height, width), -20.0, np.float32)
        for one, (x_min, y_min, x_max, y_max) in zip(logits, np.clip(boxes, 0, 1), strict=True):
            rows = slice(int(y_min * height), int(np.ceil(y_max * height)))
            columns = slice(int(x_min * width), int(np.ceil(x_max * width)))
            best = max(features, key=lambda block: block[rows, columns].sum())
            if best[rows, columns].any():
                one[best] = 20.0
        return PromptOutput(logits, np.full(len(boxes), 0.9, np.float32))

    def close(self):
        pass


def picture(size=(HEIGHT, WIDTH), **left_edges):
    """A BGR picture with a block of 24 pixels at x for every colour that is named."""
    image = np.zeros((*size, 3), np.uint8)
    for k, (name, x) in enumerate(left_edges.items()):
        image[32 * k + 4 : 32 * k + 28, x : x + 24] = COLORS[name][::-1]
    return image


@pytest.fixture
def network():
    return BlockNetwork()


@pytest.fixture
def make_picture():
    return picture


@pytest.fixture
def pipeline(network):
    return Pipeline(network, LABELS, PipelineConfig(long_side=WIDTH, short_side=HEIGHT))


@pytest.fixture
def frames(tmp_path):
    """A folder of frames: a person in all ten, a dog in the first six and the last."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for k in range(10):
        blocks = {"person": 4 * k} | ({"dog": 60 - 4 * k} if k < 6 or k == 9 else {})
        cv2.imwrite(str(folder / f"{k:03d}.png"), picture(**blocks))
    return folder
