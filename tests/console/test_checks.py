"""What a browser sends is checked: tables of what is taken and what is refused."""

import json

import pytest

from rmpsam_ros.console.checks import MAX_STAMP, Invalid, Request


def request(**values):
    return Request(json.dumps({"type": "x", **values}))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"type": 3}', "[" * 20000, '"type"', "\x00"]
)
def test_messages_that_are_none(text):
    with pytest.raises(Invalid):
        Request(text)


TAKEN = {
    "integer": (lambda r: r.integer("v", 0, 5), 5, 5),
    "flag": (lambda r: r.flag("v"), False, False),
    "text": (lambda r: r.text("v", 4), "ü 中", "ü 中"),
    "stamp": (lambda r: r.stamp("v"), str(MAX_STAMP), MAX_STAMP),
    "stamp 0": (lambda r: r.stamp("v"), "0", 0),
}


@pytest.mark.parametrize(("read", "value", "found"), TAKEN.values(), ids=TAKEN.keys())
def test_taken(read, value, found):
    assert read(request(v=value)) == found


REFUSED = {
    "integer": (lambda r: r.integer("v", 0, 5), [6, -1, 1.0, "1", True, None, [], 10**400]),
    "flag": (lambda r: r.flag("v"), [0, 1, "true", None]),
    "text": (lambda r: r.text("v", 4), ["12345", "a\n", "\x1b[0m", 4, None, "\ud800"]),
    "stamp": (
        lambda r: r.stamp("v"),
        [1, 1.5, "", "-1", "1e3", " 1", "٣", str(MAX_STAMP + 1), "1" * 500, None],
    ),
}


@pytest.mark.parametrize(
    ("read", "value"),
    [
        pytest.param(read, v, id=f"{k} {str(v)[:20]!r}")
        for k, (read, vs) in REFUSED.items()
        for v in vs
    ],
)
def test_refused(read, value):
    with pytest.raises(Invalid):
        read(request(v=value))


def test_points_and_boxes():
    found = request(points=[[1, 2.5, 1], [0, 0, 0]], boxes=[[0, 0, 5, 6]])
    assert found.points() == [(1.0, 2.5, 1), (0.0, 0.0, 0)]
    assert found.boxes() == [(0.0, 0.0, 5.0, 6.0)]
    assert request().points() == request().boxes() == []


BAD_POINTS = {
    "no list": 3,
    "no rows": [1, 2, 1],
    "two numbers": [[1, 2]],
    "text": [["1", 2, 1]],
    "true": [[True, 2, 1]],
    "label 2": [[1, 2, 2]],
    "label 0.5": [[1, 2, 0.5]],
    "far away": [[1e9, 2, 1]],
    "huge": [[10**400, 2, 1]],
    "too many": [[1, 2, 1]] * 33,
}


@pytest.mark.parametrize("points", BAD_POINTS.values(), ids=BAD_POINTS.keys())
def test_points_that_are_none(points):
    with pytest.raises(Invalid):
        request(points=points).points()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(number):
    with pytest.raises(Invalid):
        Request(f'{{"type": "x", "points": [[{number}, 1, 1]]}}').points()
