"""Tracks of a video as YouTube-VIS results."""

import json

import pytest

from rmpsam_ros.segmentation.coco_run_length import decode_coco
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.video.vis_results import VisResults

LABELS = load_label_set("youtube_vis_2019")
CATEGORY = {label.name: label.class_id + 1 for label in LABELS.labels}


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


def test_a_track_that_was_never_confirmed_is_left_out(pipeline, make_picture):
    collected = VisResults()
    for k in range(2):
        collected.add(pipeline.process(make_picture(person=4 * k), 0.1 * k, "bgr"))
    assert collected.to_json() == []


def test_best_score_first(results):
    scores = [one["score"] for one in results]
    assert scores == sorted(scores, reverse=True)
