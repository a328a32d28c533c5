"""Why nothing arrives or leaves: every cause has its own words and a remedy."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from rmpsam_ros.node import qos
from rmpsam_ros.node.status import Level
from rmpsam_ros.node.topic_health import (
    InputState,
    Peer,
    conflict,
    input_problem,
    name_problem,
    output_problem,
)

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
GOOD = Peer("/driver", IMAGE, "reliable", "")
BAD = Peer("/driver", IMAGE, "best effort", "best effort cannot serve reliable")
OTHER = Peer("/driver", COMPRESSED, "reliable", "")
QUIET = InputState(
    "/cam/image", IMAGE, "best effort, keep last 1", "front/image", (), 0, 0.0, 6.0, 5.0
)


@pytest.mark.parametrize(
    ("changes", "level", "kind", "words"),
    [
        (
            {"silent_for": 0.1, "publishers": (GOOD,), "received": 5, "lost": 0.4},
            Level.WARN,
            "losses",
            ["40 % of the images sent on /cam/image", "docs/large_images.md"],
        ),
        ({}, Level.WARN, "no publisher", ["/cam/image", "no publisher", "-r front/image:="]),
        (
            {"silent_for": 0.1, "publishers": (GOOD,), "received": 5, "lost": 0.4},
            Level.WARN,
            "losses",
            ["the camera offers more: set image_reliability to reliable"],
        ),
        (
            {"beside": "/cam/image/compressed"},
            Level.ERROR,
            "other transport",
            ["on /cam/image/compressed there are: set image_transport to compressed"],
        ),
        (
            {"topic": "/cam/image/compressed", "beside": "/cam/image"},
            Level.ERROR,
            "other transport",
            ["set image_transport to raw"],
        ),
        ({"publishers": (GOOD,)}, Level.WARN, "no first image", ["/driver", "large images"]),
        (
            {"publishers": (GOOD,), "received": 9},
            Level.ERROR,
            "stalled",
            ["for 6 s", "1 publisher(s) (/driver)", "stopped"],
        ),
        ({"received": 9}, Level.WARN, "no publisher", ["no publisher"]),
        (
            {"publishers": (OTHER,)},
            Level.ERROR,
            "other type",
            [COMPRESSED, IMAGE, "image_transport"],
        ),
        (
            {"publishers": (BAD,), "silent_for": 0.1},
            Level.ERROR,
            "incompatible",
            [
                "1 publisher(s)",
                "/driver offers best effort",
                "cannot serve reliable",
                "qos_overrides./cam/image.subscription.reliability",
            ],
        ),
    ],
)
def test_input_problems(changes, level, kind, words):
    problem = input_problem(replace(QUIET, **changes))
    assert (problem.level, problem.kind) == (level, kind)
    assert all(word in problem.text for word in words), problem.text
    assert "\n" not in problem.text


@pytest.mark.parametrize(
    "changes",
    [
        {"silent_for": 4.9},
        {"silent_for": 0.1, "publishers": (GOOD,), "received": 5},
        {"silent_for": 0.1, "publishers": (GOOD, BAD), "received": 5},
        {"silent_for": 0.1, "publishers": (OTHER,)},
        {"silent_for": 0.1, "publishers": (GOOD,), "received": 5, "lost": 0.05},
    ],
)
def test_no_input_problem(changes):
    assert input_problem(replace(QUIET, **changes)) is None


@pytest.mark.parametrize(
    "changes", [{"publishers": (BAD,)}, {"publishers": (GOOD,), "wants": "reliable, keep last 1"}]
)
def test_reliable_is_proposed_only_where_it_is_offered_and_not_asked_for(changes):
    quiet = replace(QUIET, silent_for=0.1, received=5, lost=0.4, **changes)
    if BAD in quiet.publishers:
        quiet = replace(quiet, publishers=(replace(BAD, conflict=""),))
    problem = input_problem(quiet)
    assert problem.kind == "losses" and "image_reliability" not in problem.text


def test_output_problem_names_topic_subscriber_reason_and_remedy():
    problem = output_problem("/rmpsam/tracks", [GOOD, BAD])
    assert problem.level is Level.WARN
    for word in ("1 of 2", "/rmpsam/tracks", "/driver", "qos_overrides./rmpsam/tracks.publisher"):
        assert word in problem.text
    assert output_problem("/rmpsam/tracks", [GOOD]) is None
    assert output_problem("/rmpsam/tracks", []) is None


def profile(**values):
    return QoSProfile(depth=1, **values)


RELIABLE = profile(reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = profile(reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = profile(durability=DurabilityPolicy.TRANSIENT_LOCAL)
INFINITE = Duration(nanoseconds=2**63 - 1)


@pytest.mark.parametrize(
    ("offered", "wanted", "reason"),
    [
        (RELIABLE, RELIABLE, ""),
        (RELIABLE, BEST_EFFORT, ""),
        (BEST_EFFORT, BEST_EFFORT, ""),
        (BEST_EFFORT, RELIABLE, "best effort cannot serve reliable"),
        (LATCHED, LATCHED, ""),
        (LATCHED, RELIABLE, ""),
        (RELIABLE, LATCHED, "volatile cannot serve transient local"),
        (RELIABLE, profile(deadline=INFINITE), ""),
        (profile(deadline=INFINITE), RELIABLE, ""),
        (profile(deadline=Duration(seconds=1)), profile(deadline=Duration(seconds=2)), ""),
        (RELIABLE, profile(deadline=Duration(seconds=1)), "deadline offered is longer"),
        (
            RELIABLE,
            profile(liveliness_lease_duration=Duration(seconds=1)),
            "liveliness lease duration offered is longer",
        ),
    ],
)
def test_conflicts_of_quality_of_service(offered, wanted, reason):
    found = conflict(offered, wanted)
    assert bool(found) == bool(reason)
    assert reason in found


def test_profiles_serve_and_are_served_by_everybody():
    for offered in (RELIABLE, BEST_EFFORT, LATCHED):
        assert not conflict(offered, qos.image_input())
    for wanted in (RELIABLE, BEST_EFFORT):
        assert not conflict(qos.result(), wanted)
        assert not conflict(qos.latched(), wanted)
    assert not conflict(qos.latched(), LATCHED)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (qos.image_input(), "best effort, keep last 1"),
        (qos.result(), "reliable, keep last 5"),
        (qos.latched(), "reliable, latched, keep last 1"),
    ],
)
def test_profiles_in_words(profile, words):
    assert qos.describe(profile) == words


def test_two_publishers_of_images_are_a_warning_with_their_names():
    second = replace(GOOD, node="/bag_player")
    playing = replace(QUIET, silent_for=0.1, publishers=(GOOD, second), received=5)
    problem = input_problem(playing)
    assert (problem.level, problem.kind) == (Level.WARN, "several publishers")
    assert "2 publishers send images on" in problem.text
    assert "/driver, /bag_player" in problem.text
    assert input_problem(replace(playing, publishers=(GOOD,))) is None


@pytest.mark.parametrize(
    ("others", "number"),
    [
        ([], 0),
        ([("rmpsam", "/elsewhere"), ("camera", "/")], 0),
        ([("rmpsam", "/")], 2),
        ([("rmpsam", "/"), ("rmpsam", "/"), ("camera", "/")], 3),
    ],
)
def test_other_nodes_of_the_same_name(others, number):
    node = SimpleNamespace(
        get_name=lambda: "rmpsam",
        get_namespace=lambda: "/",
        get_fully_qualified_name=lambda: "/rmpsam",
        get_node_names_and_namespaces=lambda: [("rmpsam", "/"), *others],
    )
    problem = name_problem(node)
    if not number:
        assert problem is None
    else:
        assert problem.level is Level.WARN
        assert f"{number} nodes are called /rmpsam" in problem.text


def test_another_node_of_the_same_name_is_a_status(make_node, ros, wait_for_status):
    make_node()
    other = ros.create_node("rmpsam")
    try:
        wait_for_status("name", {1}, "nodes are called /rmpsam")
    finally:
        other.destroy_node()
