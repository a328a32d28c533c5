"""Tracks of a video as YouTube-VIS results, read back by other readers."""

import json

import numpy as np
import pytest

from rmpsam_ros.data.run_lengths import decode_coco
from rmpsam_ros.evaluation.video import Tracklet, VideoPrecision
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.run_length import encode_mask
from rmpsam_ros.video.vis_results import VisResults, encode_coco, pack

LABELS = load_label_set("youtube_vis_2019")
CATEGORY = {label.name: label.class_id + 1 for label in LABELS.labels}


def shapes():
    """Masks with pixels in the corners, at the edges, none at all, and noise."""
    rng = np.random.default_rng(0)
    for height, width in ((7, 5), (48, 64), (1, 9), (9, 1), (300, 400)):
        noise = rng.random((height, width))
        yield from (noise < 0.5, noise < 0.02, noise < 0.0, noise < 2.0)
        for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            mask = np.zeros((height, width), bool)
            mask[y, x] = True
            yield mask
        box = np.zeros((height, width), bool)
        box[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = True
        yield box


@pytest.mark.parametrize("mask", list(shapes()), ids=lambda mask: f"{mask.shape} {mask.sum()}")
def test_masks_are_what_pycocotools_writes_and_reads(mask):
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is a test-only reference")
    packed = encode_coco(encode_mask(mask))
    assert packed["size"] == list(mask.shape)
    assert packed["counts"] == coco.encode(np.asfortranarray(mask))["counts"].decode()
    np.testing.assert_array_equal(coco.decode(packed).astype(bool), mask)
    np.testing.assert_array_equal(decode_coco(packed), mask)


def test_packing_of_large_and_shrinking_runs():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is a test-only reference")
    runs = [0, 70000, 3, 1, 40000, 2, 1, 65535 * 31, 12]
    size = [sum(runs), 1]
    expected = coco.frPyObjects({"size": size, "counts": runs}, *size)["counts"].decode()
    assert pack(runs) == expected


@pytest.fixture
def results(pipeline, make_picture):
    """Ten frames: a person in all of them, a dog in the first six and the last."""
    collected = VisResults(video_id=7)
    for k in range(10):
        blocks = {"person": 4 * k} | ({"dog": 60 - 4 * k} if k < 6 or k == 9 else {})
        collected.add(pipeline.process(make_picture(**blocks), 0.1 * k, "bgr"))
    return json.loads(json.dumps(collected.to_json()))


def test_every_track_has_an_entry_for_every_frame(results, make_picture):
    assert {one["category_id"] for one in results} == {CATEGORY["person"], CATEGORY["dog"]}
    for one in results:
        assert set(one) == {"video_id", "category_id", "score", "segmentations"}
        assert one["video_id"] == 7 and 0.9 < one["score"] <= 1.0
        assert len(one["segmentations"]) == 10
    (dog,) = [one for one in results if one["category_id"] == CATEGORY["dog"]]
    assert [k for k, mask in enumerate(dog["segmentations"]) if mask is None] == [6, 7, 8]
    there = make_picture(person=0, dog=60)[..., 1] > 0
    found = decode_coco(dog["segmentations"][0])
    assert (found & there).sum() / (found | there).sum() > 0.8


def test_the_official_numbering_of_categories():
    """Some categories of YouTube-VIS 2019."""
    some = [CATEGORY[name] for name in ("person", "dog", "zebra", "tennis_racket")]
    assert some == [1, 8, 30, 40] and len(CATEGORY) == 40


def tracklets(results):
    return [
        Tracklet(
            one["category_id"] - 1,
            {k: decode_coco(mask) for k, mask in enumerate(one["segmentations"]) if mask},
            one["score"],
        )
        for one in results
    ]


def test_our_own_evaluation_reads_them(results):
    precision = VideoPrecision()
    found = tracklets(results)
    precision.add(found, found)
    assert precision.score().ap == pytest.approx(1.0)
    half = VideoPrecision()
    half.add([one for one in found if len(one.masks) == 10], found)
    assert half.score().ap == pytest.approx(0.5)


def test_a_track_that_was_never_confirmed_is_left_out(pipeline, make_picture):
    collected = VisResults()
    for k in range(2):
        collected.add(pipeline.process(make_picture(person=4 * k), 0.1 * k, "bgr"))
    assert collected.to_json() == []


def test_best_score_first(results):
    scores = [one["score"] for one in results]
    assert scores == sorted(scores, reverse=True)
