"""Prompts of a command line."""

import pytest

from rmpsam_ros.segmentation.coco_run_length import decode_coco
from rmpsam_ros.video.video_prompts import FollowedObjects, parse_prompt


@pytest.mark.parametrize(
    ("text", "points", "boxes", "time"),
    [
        ("3,4", [[3, 4]], [], 0.0),
        ("3.5,4@2", [[3.5, 4]], [], 2.0),
        ("1,2,3,4", [], [[1, 2, 3, 4]], 0.0),
        ("1,2,3,4@0.25", [], [[1, 2, 3, 4]], 0.25),
    ],
)
def test_a_prompt_is_a_click_or_a_box(text, points, boxes, time):
    one = parse_prompt(text)
    assert one.prompt.points.tolist() == points and one.prompt.boxes.tolist() == boxes
    assert one.prompt.labels.tolist() == [1] * len(points) and one.time == time


@pytest.mark.parametrize(
    "text", ["", "3", "3,4,5", "a,b", "3,4@x", "3,4@-1", "3,4@inf", "3;4", "1,2,3,4,5"]
)
def test_anything_else_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match="is no prompt; use x,y"):
        parse_prompt(text)


def test_an_object_is_followed_from_its_time_on(pipeline, make_picture):
    objects = FollowedObjects([parse_prompt("16,16@0.25"), parse_prompt("60,36,84,60")])
    for k in range(8):
        blocks = {"person": 4 * k} | ({"dog": 60} if k != 5 else {})
        image = make_picture(**blocks)
        result = pipeline.process(image, 0.1 * k, "bgr")
        found = objects.add(pipeline, result)
        assert len(found) == (1 if k < 3 else 2)
        assert all(one.stamp == result.stamp for one in found)
    assert objects.waiting == []
    dog, person = objects.to_json()
    assert (dog["prompt"], person["prompt"]) == ("60,36,84,60", "16,16@0.25")
    assert [mask is None for mask in person["segmentations"]] == [True] * 3 + [False] * 5
    assert [mask is None for mask in dog["segmentations"]] == [k == 5 for k in range(8)]
    assert [score > 0 for score in dog["scores"]] == [k != 5 for k in range(8)]
    masks = (person["segmentations"][7], make_picture(person=28)[..., 2] > 0)
    found, there = decode_coco(masks[0]), masks[1]
    assert (found & there).sum() / (found | there).sum() > 0.8
    assert objects.summary() == [
        "object-1 (60,36,84,60): found in 7 of 8 frames",
        "object-2 (16,16@0.25): found in 5 of 5 frames",
    ]


def test_a_prompt_behind_the_end_waits(pipeline, make_picture):
    objects = FollowedObjects([parse_prompt("16,16@9")])
    assert objects.add(pipeline, pipeline.process(make_picture(person=4), 0.0, "bgr")) == ()
    assert [one.text for one in objects.waiting] == ["16,16@9"] and objects.to_json() == []
