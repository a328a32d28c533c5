"""Prompts from a file, and the objects that they follow."""

import json

import numpy as np
import pytest
import yaml

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.prompts_file import read_prompts

from .conftest import SECOND, START

GOOD = {"stamp": 12.5, "points": [[3, 4]]}


@pytest.fixture
def prompts_file(tmp_path):
    def write(content):
        path = tmp_path / "prompts.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (12, 12 * SECOND),
        (12.5, 12 * SECOND + SECOND // 2),
        ("1724156153.250000001", 1724156153250000001),
        (0, 0),
        ("3.000000001", 3 * SECOND + 1),
    ],
)
def test_stamps(prompts_file, stamp, expected):
    (one,) = read_prompts(prompts_file([{**GOOD, "stamp": stamp}]))
    assert one.stamp == expected


def test_everything_that_a_prompt_may_have(prompts_file):
    content = [
        {"stamp": 9, "boxes": [[1, 2, 3, 4]], "camera": "front", "name": "cup"},
        {"stamp": 8, "points": [[1, 2], [3.5, 4, 0]]},
    ]
    first, second = read_prompts(prompts_file(json.dumps(content)))
    assert first.stamp == 8 * SECOND
    np.testing.assert_array_equal(first.prompt.points, [[1, 2], [3.5, 4]])
    np.testing.assert_array_equal(first.prompt.labels, [1, 0])
    assert (second.camera, second.name, second.prompt.boxes.shape) == ("front", "cup", (1, 4))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "cannot be read"),
        ("!!python/object/apply:os.getcwd []", "cannot be read"),
        ({"stamp": 1}, "must hold a list"),
        ([3], "prompt 1: expected stamp"),
        ([{"points": [[1, 2]]}], "expected stamp"),
        ([GOOD, {**GOOD, "box": []}], "prompt 2: expected stamp"),
        ([{"stamp": 1}], "neither points nor boxes"),
        ([{**GOOD, "points": [[1]]}], "expected 2 or 3 numbers"),
        ([{**GOOD, "points": [["a", 1]]}], "expected 2 or 3 numbers"),
        ([{**GOOD, "points": [[1, float("nan")]]}], "expected 2 or 3 numbers"),
        ([{**GOOD, "points": [[1, 2]] * 33}], "list of up to 32"),
        ([{**GOOD, "boxes": [[1, 2, 3]]}], "expected 4 numbers"),
        ([{**GOOD, "stamp": -1}], "expected seconds"),
        ([{**GOOD, "stamp": "soon"}], "expected seconds"),
        ([{**GOOD, "stamp": True}], "expected seconds"),
        ([{**GOOD, "name": 3}], "expected text"),
    ],
)
def test_what_is_no_prompt_is_named(prompts_file, content, words):
    with pytest.raises(RecordingError, match=words):
        read_prompts(prompts_file(content))


def test_objects_are_followed_from_their_prompts_on(
    camera_bag, tmp_path, prompts_file, process, read
):
    seconds = START // SECOND
    path = prompts_file(
        [
            {"stamp": f"{seconds}.15", "points": [[20, 25]], "name": "square"},
            {"stamp": seconds, "boxes": [[2, 10, 40, 45]]},
            {"stamp": seconds + 60, "points": [[1, 1]]},
        ]
    )
    report = process(camera_bag, tmp_path / "out", prompts=str(path))
    found = read(tmp_path / "out")["/rmpsam/prompted_masks"]
    assert len(found) == 8
    names = [{one.object_id for one in message.masks} for _, message in found]
    assert "square" not in names[0] | names[1]
    assert all("square" in one for one in names[2:])
    assert all(len(one) == 2 for one in names[2:])
    for time, message in found:
        stamps = {one.stamp.sec * SECOND + one.stamp.nanosec for one in message.masks}
        assert stamps == {time}  # the engine rmpsam looks in every frame
    assert report.losses() == [f"prompt was not used: '{path}', prompt 3"]


def test_a_prompt_outside_the_image_is_named(camera_bag, tmp_path, prompts_file, process):
    path = prompts_file([{"stamp": 1, "points": [[500, 3]]}])
    with pytest.raises(RecordingError, match=r"prompt 1: point \(500, 3\) is outside"):
        process(camera_bag, tmp_path / "out", prompts=str(path))
    assert not (tmp_path / "out").exists()


def test_a_camera_that_does_not_exist_is_named(camera_bag, tmp_path, prompts_file, process):
    path = prompts_file([{**GOOD, "camera": "rear"}])
    with pytest.raises(RecordingError, match="camera is 'rear'; expected ''"):
        process(camera_bag, tmp_path / "out", prompts=str(path))
