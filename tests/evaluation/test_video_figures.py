"""The tool that measures identity on annotated video, on videos whose figures are known."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from rmpsam_ros.pipeline import Pipeline, PipelineConfig, PromptingConfig, create_pipeline
from rmpsam_ros.runtime import EngineConfig, EngineInfo, FrameOutput, ObjectOutput, PromptOutput
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.labels import load_label_set

TESTS = Path(__file__).resolve().parents[1]
DAVIS = TESTS.parents[1] / "shared" / "data" / "davis2016"
LABELS = load_label_set("coco_panoptic")
HEIGHT, WIDTH, SIDE = 64, 96, 24


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location(
        "video_figures", TESTS.parent / "tools" / "figures" / "video_figures.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BrightNetwork(HostSteps, Batches):
    """What is bright is a person. Its query is another one from frame ``other_from`` on."""

    info = EngineInfo("bright", "fp32", "cpu", "none", "none")

    def __init__(self, other_from=99, blind=()):
        self._other_from, self._blind, self._frame = other_from, blind, -1

    def run(self, image, boxes=None):
        self._frame += 1
        bright = image[0, :, 2::4, 2::4].max(axis=0) > 0
        masks = np.full((4, *bright.shape), -20.0, np.float32)
        classes = np.zeros((4, LABELS.num_classes + 1), np.float32)
        classes[:, -1] = 20.0
        query = 0 if self._frame < self._other_from else 1
        if self._frame not in self._blind:
            masks[query][bright] = 20.0
            classes[query, [0, -1]] = 20.0, 0.0
        objects = ObjectOutput(classes, masks, np.eye(4, 256, dtype=np.float32))
        return FrameOutput(bright, objects, self.decode_prompts(bright, boxes))

    def decode_prompts(self, bright, boxes):
        boxes = np.zeros((0, 4), np.float32) if boxes is None else boxes
        logits = np.where(bright, 20.0, -20.0).astype(np.float32)[None]
        return PromptOutput(
            logits.repeat(len(boxes), axis=0), np.full(len(boxes), 0.9, np.float32)
        )

    def close(self):
        pass


def make_pipeline(**network):
    config = PipelineConfig(long_side=WIDTH, short_side=HEIGHT)
    return Pipeline(BrightNetwork(**network), LABELS, config)


def square(frame):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20 : 20 + SIDE, 4 * frame : 4 * frame + SIDE] = True
    return mask


@pytest.fixture
def davis_folder(tmp_path):
    """Two sequences of ten frames in the layout of DAVIS."""
    for name in ("one", "two"):
        images, masks = (tmp_path / part / name for part in ("JPEGImages", "Annotations"))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for k in range(10):
            picture = np.where(square(k), 255, 0).astype(np.uint8)
            cv2.imwrite(str(images / f"{k:05d}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])
            cv2.imwrite(str(masks / f"{k:05d}.png"), picture)
    return tmp_path


@pytest.mark.parametrize(
    ("network", "switches", "fragmentations", "matches"),
    [
        ({}, 0, 0, 16),  # two sequences of ten frames; confirmed in the third frame of each
        ({"other_from": 5}, 1, 1, 14),  # of the first sequence: not confirmed for two frames
        ({"blind": (5, 7)}, 0, 2, 14),
    ],
)
def test_switches_and_fragmentations(
    tool, davis_folder, network, switches, fragmentations, matches
):
    options = SimpleNamespace(folder=davis_folder, sequences=[], frames=None)
    figures = tool.davis(make_pipeline(**network), options)
    assert figures["tracks"] == {
        "switches": switches, "fragmentations": fragmentations, "matches": matches, "objects": 20
    }  # fmt: skip
    for how in ("box", "click"):
        assert figures[how]["j_and_f"] > 0.85 and figures[how]["losses"] == 0
    assert set(figures["per_sequence"]) == {"one", "two"}


def test_an_object_that_is_lost_counts_as_an_empty_mask(tool, davis_folder):
    for k in range(4, 7):
        black = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.imwrite(str(davis_folder / "JPEGImages" / "one" / f"{k:05d}.jpg"), black)
    options = SimpleNamespace(folder=davis_folder, sequences=["one"], frames=None)
    figures = tool.davis(make_pipeline(), options)
    assert figures["box"]["lost_frames"] == 3 and figures["box"]["losses"] == 1
    # Of the eight frames between the first and the last three are missed.
    assert figures["box"]["j"] == pytest.approx(5 / 8, abs=0.1)


def test_ids_that_persist(tool, tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for k in range(6):
        bright = np.where(square(k), 255, 0).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{3 * k:06d}.jpg"), bright)
        cv2.imwrite(str(tmp_path / "masks" / f"{3 * k:06d}.png"), bright // 51)
    figures = tool.lmo(make_pipeline(), SimpleNamespace(folder=tmp_path))
    assert figures["tracks"] == {
        "switches": 0, "fragmentations": 0, "matches": 4, "objects": 6
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not DAVIS.is_dir(), reason="the videos of davis2016 are not here")
def test_a_boxed_dog_is_followed(tool):
    """Six frames of a real video with MobileSAM."""
    config = PipelineConfig(
        network=EngineConfig(engine="torch", device="cpu"),
        long_side=96,
        short_side=96,
        prompting=PromptingConfig(engine="mobile_sam", prompt_rate=0.0),
    )
    options = SimpleNamespace(folder=DAVIS, sequences=["dog"], frames=6)
    figures = tool.davis(create_pipeline(config), options)
    assert figures["box"]["j_and_f"] > 0.9 and figures["box"]["lost_frames"] == 0
