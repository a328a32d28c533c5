"""The paper's procedure for whole videos."""

import numpy as np
import pytest
import torch

from rmpsam_ros.runtime import EngineConfig, EngineInfo, FrameOutput, ObjectOutput, load_engine
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.network import load_network
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.coco_run_length import decode_coco
from rmpsam_ros.segmentation.instances import extract_instances
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.preprocess import preprocess
from rmpsam_ros.tracking import match_clip_queries
from rmpsam_ros.video import near_online
from rmpsam_ros.video.near_online import MAX_FRAMES, LengthError, near_online_results

LABELS = load_label_set("youtube_vis_2019")
LIMITS = (96, 64)
PERSON, DOG, CAT = (
    next(one.class_id for one in LABELS.labels if one.name == name)
    for name in ("person", "dog", "cat")
)


class ShuffledTubes(HostSteps, Batches):
    """Red is a person; green looks like a dog in two clips and like a cat in the second one.

    The slots of the queries are shuffled in every clip.
    """

    info = EngineInfo("tubes", "fp32", "cpu", "none", "none")

    def __init__(self):
        self._looks = np.random.default_rng(0).random((6, 16)).astype(np.float32)
        self.lengths = []

    def run(self, image, boxes=None):
        return FrameOutput(image[0, :, 2::4, 2::4] > 0, None, None)

    def decode_tube(self, features):
        clip = len(self.lengths) % 3
        self.lengths.append(len(features))
        order = np.random.default_rng(clip).permutation(6)
        slots = np.argsort(order)
        classes = np.zeros((6, LABELS.num_classes + 1), np.float32)
        classes[:, -1] = 12.0
        classes[slots[0], PERSON] = 15.0
        classes[slots[1], CAT if clip == 1 else DOG] = 14.0
        objects = []
        for bright in features:
            masks = np.full((6, *bright.shape[1:]), -20.0, np.float32)
            masks[slots[0]][bright[0]] = 20.0
            masks[slots[1]][bright[1]] = 20.0
            objects.append(ObjectOutput(classes, masks, self._looks[order]))
        return tuple(objects)

    def close(self):
        pass


def test_tracks_of_a_whole_video(make_picture):
    engine = ShuffledTubes()
    frames = [make_picture(person=4 * k, **({"dog": 60} if k < 9 else {})) for k in range(13)]
    entries = near_online_results(
        engine, lambda: frames, 13, LIMITS, LABELS, clip_size=5, video_id=3
    )
    assert engine.lengths == [5, 4, 4]
    person, dog = entries[:2]
    assert person["category_id"] == PERSON + 1 and person["video_id"] == 3
    assert all(person["segmentations"]) and person["score"] > 0.7
    for k, mask in enumerate(person["segmentations"]):
        there = frames[k][..., 2] > 0
        found = decode_coco(mask)
        assert (found & there).sum() / (found | there).sum() > 0.8
    # Two of three clips say dog: the mean of the logits does, too. It is gone after nine frames.
    assert dog["category_id"] == DOG + 1
    assert [k for k, mask in enumerate(dog["segmentations"]) if mask] == list(range(9))
    cat = next(one for one in entries if one["category_id"] == CAT + 1)
    assert cat["segmentations"] == dog["segmentations"] and cat["score"] < dog["score"]
    scores = [one["score"] for one in entries]
    assert scores == sorted(scores, reverse=True)


def test_a_long_video_is_decoded_twice_and_says_the_same(make_picture, monkeypatch):
    """Its masks are not kept: there is one clip at a time."""
    frames = [make_picture(person=4 * k, dog=60) for k in range(13)]
    once = near_online_results(ShuffledTubes(), lambda: frames, 13, LIMITS, LABELS, clip_size=5)
    monkeypatch.setattr(near_online, "MAX_KEPT_FRAMES", 12)
    engine = ShuffledTubes()
    twice = near_online_results(engine, lambda: frames, 13, LIMITS, LABELS, clip_size=5)
    assert engine.lengths == [5, 4, 4] * 2
    assert twice == once


def test_the_procedure_of_the_paper_on_the_real_network(make_picture):
    """Two clips of the small network, put together by hand."""
    config = EngineConfig(engine="torch", device="cpu", num_threads=1, clip_frames=2)
    engine = load_engine(config, LABELS.num_classes)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(4)]
    entries = near_online_results(engine, lambda: frames, 4, LIMITS, LABELS, clip_size=2)
    prepared = [preprocess(one, LIMITS, "bgr") for one in frames]
    model = load_network(config, LABELS.num_classes, print)  # random weights, the same each time
    with torch.inference_mode():
        features = torch.cat([model.features(torch.from_numpy(one)) for one, _ in prepared])
        tubes = [model.decode_objects(features[k : k + 2], frames=2) for k in (0, 2)]
    order = match_clip_queries(tubes[0].queries[0].numpy(), tubes[1].queries[0].numpy())
    logits = (tubes[0].class_logits[0] + tubes[1].class_logits[0][order]).numpy() / 2
    masks = np.concatenate(
        [tubes[0].mask_logits[0].numpy(), tubes[1].mask_logits[0].numpy()[order]], axis=1
    )
    by_pair = {}
    for k in range(4):
        for one in extract_instances(logits, masks[:, k].copy(), prepared[k][1], LABELS, 100):
            by_pair.setdefault((one.query, one.class_id), []).append(one.score)
    expected = sorted((sum(scores) / 4 for scores in by_pair.values()), reverse=True)
    found = [one["score"] for one in entries]
    assert 5 < len(found) <= 100
    assert np.allclose(found, expected[: len(found)], atol=0.02)


def test_a_video_too_long_is_refused_before_anything_is_done(make_picture):
    with pytest.raises(LengthError, match=f"at most {MAX_FRAMES}"):
        near_online_results(ShuffledTubes(), lambda: iter(()), MAX_FRAMES + 1, LIMITS, LABELS)
