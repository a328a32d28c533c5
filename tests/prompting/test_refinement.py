"""What clicks mean together with earlier ones and with the place of a followed object."""

import numpy as np
import pytest

from rmpsam_ros.prompting.refinement import (
    add_clicks,
    anchor_prompt,
    correct_place,
    prompt_anchor,
)
from rmpsam_ros.segmentation.prompt_types import MAX_POINTS, ObjectPrompt, validate_prompt
from rmpsam_ros.tracking.prompted_records import Anchor

SIZE = (100, 200)
PLACE = Anchor((40.0, 20.0, 80.0, 60.0), np.array([[60, 40]], np.float32), SIZE)
DEEPEST = [60.0, 40.0, 1.0]
BOX = [40.0, 20.0, 80.0, 60.0]


def parts(prompt):
    points = np.concatenate([prompt.points, np.asarray(prompt.labels)[:, None]], axis=1)
    return points.tolist(), prompt.boxes.tolist()


def test_clicks_of_one_frame_count_together(ask):
    both = add_clicks(ask([(1, 2, 1)], [(0, 0, 9, 9)]), ask([(3, 4, 0)]))
    assert parts(both) == ([[1, 2, 1], [3, 4, 0]], [[0, 0, 9, 9]])


@pytest.mark.parametrize(
    ("points", "boxes", "expected"),
    [
        # background clicks correct what is followed
        ([(45, 25, 0)], [], ([DEEPEST, [45, 25, 0]], [BOX])),
        # a foreground click inside adds to it
        ([(70, 50, 1)], [], ([DEEPEST, [70, 50, 1]], [BOX])),
        # one near it, too, but the box would cut it off
        ([(90, 50, 1)], [], ([DEEPEST, [90, 50, 1]], [])),
        ([(90, 50, 1), (70, 50, 1)], [], ([DEEPEST, [90, 50, 1], [70, 50, 1]], [])),
        # one far from it means something else
        ([(150, 50, 1)], [], ([[150, 50, 1]], [])),
        ([(150, 50, 1), (60, 40, 0)], [], ([[150, 50, 1], [60, 40, 0]], [])),
        # and so does a box
        ([], [(0, 0, 9, 9)], ([], [[0, 0, 9, 9]])),
        ([(60, 40, 0)], [(0, 0, 9, 9)], ([[60, 40, 0]], [[0, 0, 9, 9]])),
    ],
)
def test_clicks_on_a_later_frame(ask, points, boxes, expected):
    assert parts(correct_place(PLACE, ask(points, boxes))) == expected


def test_many_clicks_leave_no_room_for_the_place(ask):
    clicks = ask([(60, 40, 1)] * MAX_POINTS)
    validate_prompt(correct_place(PLACE, clicks), SIZE)
    assert len(correct_place(PLACE, clicks).points) == MAX_POINTS


@pytest.mark.parametrize(
    "malformed",
    [
        ObjectPrompt(np.zeros((1, 3), np.float32), np.ones(1), np.zeros((0, 4), np.float32)),
        ObjectPrompt(np.zeros(2, np.float32), np.ones(1), np.zeros((0, 4), np.float32)),
        ObjectPrompt(np.zeros((2, 2), np.float32), np.ones(1), np.zeros((0, 4), np.float32)),
    ],
)
def test_what_is_malformed_is_left_to_the_check(ask, malformed):
    for result in (correct_place(PLACE, malformed), add_clicks(ask([(1, 1, 1)]), malformed)):
        with pytest.raises(ValueError, match="points must be"):
            validate_prompt(result, SIZE)


def test_a_place_is_asked_for_inside_the_image():
    edge = Anchor((-3.0, 50.0, 20.0, 120.0), np.array([[5, 130]], np.float32), SIZE)
    prompt = anchor_prompt(edge)
    validate_prompt(prompt, SIZE)
    assert prompt.boxes.tolist() == [[0, 50, 20, 100]]


@pytest.mark.parametrize(
    ("points", "boxes", "box"),
    [
        ([(50, 40, 1)], [], (47, 37, 53, 43)),
        ([(50, 40, 1), (70, 40, 1), (190, 90, 0)], [], (47, 37, 73, 43)),
        ([], [(10, 10, 30, 20)], (10, 10, 30, 20)),
        ([(199, 99, 1)], [], (196, 96, 200, 100)),
    ],
)
def test_where_a_prompt_points_at(ask, points, boxes, box):
    anchor = prompt_anchor(ask(points, boxes), SIZE)
    assert anchor.box == box
    validate_prompt(anchor_prompt(anchor), SIZE)
