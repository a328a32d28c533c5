"""Whatever is asked: it is acceptable for the image, or refused with a reason."""

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="requirements/test-fuzz.txt")
pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.srv", reason="needs the built package (make build)")

from hypothesis import given
from hypothesis import strategies as some

from rmpsam_ros.msg import PromptBox, PromptPoint
from rmpsam_ros.node.parameters.overrides import parse_overrides
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
from rmpsam_ros.node.printable import printable
from rmpsam_ros.node.prompts.requests import Refusal, check_request, click_prompt, object_prompt
from rmpsam_ros.segmentation.prompt_types import PromptError, validate_prompt
from rmpsam_ros.srv import AddPrompt
from rmpsam_ros.video.video_prompts import parse_prompt

SIZE = (48, 64)
number = some.one_of(some.floats(width=32), some.integers(-5, 70).map(float))
points = some.lists(
    some.builds(PromptPoint, x=number, y=number, label=some.integers(0, 255)), max_size=40
)
boxes = some.lists(
    some.builds(PromptBox, x_min=number, y_min=number, x_max=number, y_max=number), max_size=10
)
text = some.text(max_size=200)


@given(points, boxes, text)
def test_requests(asked_points, asked_boxes, object_id):
    request = AddPrompt.Request(points=asked_points, boxes=asked_boxes)
    try:
        request.object_id = object_id
        check_request(request)
        prompt = object_prompt(request)
        validate_prompt(prompt, SIZE)
    except (Refusal, PromptError) as error:
        assert str(error)
        return
    assert np.isfinite(prompt.points).all() and np.isfinite(prompt.boxes).all()
    assert len(prompt.points) + len(prompt.boxes) > 0


@given(some.floats(), some.floats())
def test_clicks(x, y):
    try:
        validate_prompt(click_prompt(x, y), SIZE)
    except PromptError as error:
        assert str(error)
        return
    assert -0.5 <= x <= SIZE[1] and -0.5 <= y <= SIZE[0]


@given(text)
def test_prompts_of_the_command_line(words):
    try:
        parse_prompt(words)
    except ValueError as error:
        assert str(error)


@given(some.one_of(text, some.builds("{}:={}".format, some.sampled_from(
    [one.name for group in NODE_PARAMETERS.values() for one in group]), text)))  # fmt: skip
def test_parameters_of_launch_files(words):
    try:
        values = parse_overrides(words)
    except ParameterError as error:
        assert str(error)
        return
    known = {one.name: one for group in NODE_PARAMETERS.values() for one in group}
    for name, value in values.items():
        assert type(value) is type(known[name].default)


@given(text, some.integers(0, 300))
def test_shown_text(words, length):
    shown = printable(words, length)
    assert shown.isprintable()
    assert len(words) > length or words.isprintable() is False or shown == words
