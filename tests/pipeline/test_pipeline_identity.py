"""Scripted sequences from pictures to ids, frame by frame and in clips, as a table of cases."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from rmpsam_ros.pipeline import Pipeline, PipelineConfig
from rmpsam_ros.runtime import EngineConfig, EngineInfo, FrameOutput, ObjectOutput
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking import TrackState

LABELS = load_label_set("coco_panoptic")
PERSON = next(label.class_id for label in LABELS.labels if label.name == "person")
HEIGHT, WIDTH, SIDE = 128, 192, 32
COLORS = {"A": (255, 0, 0), "B": (0, 255, 0), "C": (0, 0, 255)}  # also the channel that shows it
NUM_QUERIES, DIM = 12, 64


class ThingNetwork(HostSteps, Batches):
    """Every coloured block is a person; its query is like no other's, noisy, in any slot."""

    info = EngineInfo("things", "fp32", "cpu", "none", "none")

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)
        self._looks = self._rng.normal(0.5, 1.0, (NUM_QUERIES, DIM))

    def run(self, image, boxes=None):
        seen = image[0, :, 2::4, 2::4]
        maps = np.stack([seen[k] - np.delete(seen, k, axis=0).max(axis=0) > 1.0 for k in range(3)])
        return FrameOutput(maps, self._objects([maps])[0], None)

    def decode_tube(self, features):
        return self._objects(features)

    def _objects(self, frames):
        order = self._rng.permutation(NUM_QUERIES)
        noisy = self._looks + 0.4 * self._rng.normal(size=self._looks.shape)
        queries = np.maximum(noisy, 0.0)[order].astype(np.float32)
        classes = np.zeros((NUM_QUERIES, LABELS.num_classes + 1), np.float32)
        classes[:, -1] = 20.0
        slots = np.argsort(order)[:3]
        for k, slot in enumerate(slots):
            if any(maps[k].any() for maps in frames):
                classes[slot, [PERSON, -1]] = 20.0, 0.0
        outputs = []
        for maps in frames:
            masks = np.full((NUM_QUERIES, *maps.shape[1:]), -20.0, np.float32)
            for k, slot in enumerate(slots):
                masks[slot][maps[k]] = 20.0
            outputs.append(ObjectOutput(classes, masks, queries))
        return tuple(outputs)

    def close(self):
        pass


@dataclass(frozen=True)
class Case:
    """Per thing and frame the expected id, "." where it is not in the picture.

    Ids are renumbered in the order of their first sight: which of two things that are born in the
    same frame comes first is chance.

    Attributes:
        x: by thing, left edge in the first frame and pixels per frame.
        periods: seconds between frames, the last one repeated.
    """

    name: str
    ids: dict[str, str]
    x: dict[str, tuple[int, int]]
    periods: tuple[float, ...] = (0.1,)


CASES = (
    Case("apart", {"A": "11111111", "B": "22222222"}, {"A": (0, 4), "B": (150, -4)}),
    Case("crossing", {"A": "1" * 20, "B": "2" * 20}, {"A": (0, 8), "B": (152, -8)}),
    Case("one behind the other", {"A": "1" * 12, "B": "2222....2222"},
         {"A": (60, 4), "B": (60, 4)}),
    Case("occlusion of both", {"A": "111...111", "B": "2222..222"}, {"A": (0, 4), "B": (150, -4)}),
    Case("exit and re-entry", {"A": "111" + "." * 30 + "111"}, {"A": (0, 2)}),
    Case("exit, and another enters", {"A": "1111....", "B": "....2222"},
         {"A": (0, 4), "B": (0, 4)}),
    Case("three, born one by one", {"A": "111111", "B": ".22222", "C": "..3333"},
         {"A": (0, 4), "B": (60, 4), "C": (120, 4)}),
    Case("frames dropped", {"A": "111111", "B": "222222"}, {"A": (0, 20), "B": (150, -20)},
         (0.03, 0.03, 1.5, 0.03, 0.8)),
    Case("a slow camera", {"A": "1111.1", "B": "222222"}, {"A": (0, 20), "B": (150, -20)}, (3.0,)),
    Case("out of memory", {"A": "111.2"}, {"A": (0, 4)}, (0.1, 0.1, 0.1, 11.0)),
    Case("a long pause", {"A": "111333", "B": "222444"}, {"A": (0, 4), "B": (150, -4)},
         (0.1, 0.1, 60.0, 0.1)),
    Case("time jumps back", {"A": "111222"}, {"A": (0, 4)}, (0.1, 0.1, -50.0, 0.1)),
    Case("jitter back", {"A": "111111"}, {"A": (0, 4)}, (0.1, -0.05, 0.1, -0.3, 0.4)),
    Case("every frame twice", {"A": "111111"}, {"A": (0, 4)}, (0.0, 0.1, 0.0, 0.1, 0.0)),
)  # fmt: skip


def picture(case, frame):
    """A later thing lies behind an earlier one."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for name in reversed(case.ids):
        if case.ids[name][frame] != ".":
            start, speed = case.x[name]
            left = start + speed * frame
            top = 20 + 12 * list(COLORS).index(name)
            cv2.rectangle(image, (left, top), (left + SIDE - 1, top + SIDE - 1), COLORS[name], -1)
    return image


@pytest.mark.parametrize("clip_frames", [1, 3], ids=["frames", "clips"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ids(case, seed, clip_frames):
    config = PipelineConfig(
        network=EngineConfig(clip_frames=clip_frames), long_side=WIDTH, short_side=HEIGHT
    )
    pipeline = Pipeline(ThingNetwork(seed), LABELS, config)
    found = {name: "" for name in case.ids}
    numbers: dict[int, int] = {}
    stamp, length = 100.0, len(next(iter(case.ids.values())))
    for frame in range(length):
        if frame:
            stamp += case.periods[min(frame, len(case.periods)) - 1]
        image = picture(case, frame)
        result = pipeline.process(image, stamp)
        check_consistency(result)
        masks = {one: decode_mask(mask) for one, mask in result.track_masks.items()}
        for name in found:
            mine = (image == COLORS[name]).all(axis=2)
            track = max(masks, key=lambda one, at=mine: masks[one][at].sum()) if mine.any() else 0
            found[name] += str(numbers.setdefault(track, len(numbers) + 1)) if track else "."
    assert found == case.ids


def check_consistency(result):
    """Every thing segment carries exactly one track, and the other way round."""
    things = {segment.id for segment in result.panoptic.segments if segment.is_thing}
    assert set(result.track_ids) == things
    assert set(result.track_ids.values()) == set(result.track_masks)
    seen = {track.id: track for track in result.tracks if track.state is not TrackState.LOST}
    assert set(seen) == set(result.track_masks)
    for segment_id, track_id in result.track_ids.items():
        assert seen[track_id].segment_id == segment_id
        mask = decode_mask(result.track_masks[track_id])
        np.testing.assert_array_equal(mask, result.panoptic.id_map == segment_id)
