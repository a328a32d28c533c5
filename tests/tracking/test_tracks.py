"""Behaviour of the live tracker beyond the table of ids."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rmpsam_ros.tracking import Detection, QueryTracker, TrackerConfig, TrackState

TENTATIVE, CONFIRMED, LOST = TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST
MakeScene = Callable[..., Any]


def test_states_follow_hits_and_sight(make_scene: MakeScene) -> None:
    scene = make_scene(TrackerConfig(confirm_hits=3, memory_seconds=2.0))
    states = []
    for frame, visible in enumerate("A A A . . A . . . . . .".split()):
        scene.show(0.5 * frame, visible.strip("."))
        states.append(scene.states().get(1))
    assert states == [
        TENTATIVE, TENTATIVE, CONFIRMED, LOST, LOST, CONFIRMED, LOST, LOST, LOST, LOST, None, None
    ]  # fmt: skip


def test_an_unseen_tentative_track_is_not_reported_but_counts_on(make_scene: MakeScene) -> None:
    scene = make_scene()
    for frame, visible in enumerate(["A", "A", ""]):
        scene.show(0.1 * frame, visible)
    assert scene.tracks == ()
    track = scene.show(0.3, "A")["A"]
    assert (track.id, track.state, track.hits) == (1, CONFIRMED, 3)


@pytest.mark.parametrize("confirm_hits", [1, 2, 5])
def test_birth_after_hits(make_scene: MakeScene, confirm_hits: int) -> None:
    scene = make_scene(TrackerConfig(confirm_hits=confirm_hits))
    states = [scene.show(0.1 * frame, "A")["A"].state for frame in range(6)]
    assert states == [TENTATIVE] * (confirm_hits - 1) + [CONFIRMED] * (7 - confirm_hits)


def test_times_hits_and_segment_of_a_track(make_scene: MakeScene) -> None:
    scene = make_scene()
    for stamp in (10.0, 10.5, 11.25):
        track = scene.show(stamp, "BA")["A"]
    assert (track.first_seen, track.last_seen, track.hits, track.segment_id) == (10.0, 11.25, 3, 2)
    scene.show(12.0, "B")
    (lost,) = [track for track in scene.tracks if track.state is LOST]
    assert (lost.id, lost.first_seen, lost.last_seen, lost.hits, lost.segment_id) == (
        2, 10.0, 11.25, 3, 0
    )  # fmt: skip
    assert (lost.class_id, lost.score) == (track.class_id, track.score)


def test_tracks_are_ordered_by_id(make_scene: MakeScene) -> None:
    scene = make_scene()
    for frame, visible in enumerate(("CBA", "ABC", "BAC", "AC", "CAB")):
        scene.show(0.1 * frame, visible)
        ids = [track.id for track in scene.tracks]
        assert ids == sorted(ids)


# ---------------------------------------------------------------------------------------------
# Classes


@pytest.mark.parametrize(
    ("seen", "scores", "expected"),
    [
        ("0000000", (0.9,), "0000000"),
        ("0010100", (0.9,), "0000000"),
        ("1000000", (0.9,), "1100000"),
        ("0101010", (0.9,), "0000000"),
        ("0111111", (0.9,), "0011111"),
        ("0011", (0.85, 0.85, 0.95, 0.95), "0000"),
        ("0011", (0.6, 0.6, 0.9, 0.9), "0001"),
        ("0000001111", (0.9,), "0000000000"),
        ("01", (0.5, 0.9), "01"),
    ],
)
def test_class_is_voted(
    make_scene: MakeScene, seen: str, scores: tuple[float, ...], expected: str
) -> None:
    scene = make_scene(TrackerConfig(vote_seconds=100.0))
    voted = ""
    for frame, class_id in enumerate(seen):
        score = scores[frame % len(scores)]
        track = scene.show(0.1 * frame, "A", {"A": int(class_id)}, score)["A"]
        assert track.id == 1
        voted += str(track.class_id)
    assert voted == expected


def test_votes_fade_with_time_and_not_with_frames(make_scene: MakeScene) -> None:
    config = TrackerConfig(vote_seconds=1.0)
    for period, expected in ((0.01, 0), (4.0, 7)):
        scene = make_scene(config)
        for frame, class_id in enumerate((0, 0, 0, 7)):
            track = scene.show(period * frame, "A", {"A": class_id})["A"]
        assert track.class_id == expected


def test_a_class_seen_long_ago_no_longer_agrees(make_scene: MakeScene) -> None:
    scene = make_scene(TrackerConfig(vote_seconds=1.0))
    for frame, class_id in enumerate((2, 1, 1, *[1] * 17)):
        scene.show(float(frame), "A", {"A": class_id})
    scene.show(20.0, "")
    assert scene.show(21.0, "A", {"A": 2})["A"].id == 2


def test_score_is_the_mean_probability_of_the_voted_class(make_scene: MakeScene) -> None:
    scene = make_scene(TrackerConfig(vote_seconds=1e6))
    for frame, (class_id, score) in enumerate(((3, 0.9), (3, 0.6), (4, 0.8))):
        track = scene.show(0.1 * frame, "A", {"A": class_id}, score)["A"]
    assert track.class_id == 3
    assert track.score == pytest.approx((0.9 + 0.6) / 3, abs=1e-5)


def test_a_score_rounded_above_one_is_one(make_scene: MakeScene) -> None:
    scene = make_scene()
    for frame in range(5):
        track = scene.show(0.1 * frame, "A", score=float(np.nextafter(np.float32(1), 2)))["A"]
        assert track.score == pytest.approx(1.0) and track.score <= 1.0


def test_a_thing_of_another_class_does_not_come_back_as_the_lost_one(
    make_scene: MakeScene,
) -> None:
    scene = make_scene()
    for frame in range(4):
        scene.show(0.1 * frame, "A", {"A": 1})
    scene.show(0.4, "")
    assert scene.show(0.5, "A", {"A": 2})["A"].id == 2


def test_a_flickering_class_is_remembered_for_coming_back(make_scene: MakeScene) -> None:
    scene = make_scene()
    for frame, class_id in enumerate((1, 1, 2, 1)):
        scene.show(0.1 * frame, "A", {"A": class_id})
    scene.show(0.4, "")
    track = scene.show(0.5, "A", {"A": 2})["A"]
    assert (track.id, track.class_id) == (1, 1)


# ---------------------------------------------------------------------------------------------
# Time


def test_a_frame_that_comes_twice_counts_once(make_scene: MakeScene) -> None:
    scene = make_scene()
    for stamp in (1.0, 1.0, 1.0, 1.0):
        track = scene.show(stamp, "A", score=0.9)["A"]
    assert (track.id, track.state, track.hits) == (1, TENTATIVE, 1)


def test_what_comes_back_in_a_repeated_moment_is_counted(make_scene: MakeScene) -> None:
    scene = make_scene()
    for stamp, visible in ((1.0, "A"), (2.0, ""), (2.0, "A"), (2.0, "A")):
        scene.show(stamp, visible)
    assert [(t.id, t.hits, t.last_seen) for t in scene.tracks] == [(1, 2, 2.0)]


def test_reset_forgets_things_but_not_ids(make_scene: MakeScene) -> None:
    scene = make_scene()
    for frame in range(4):
        scene.show(0.1 * frame, "AB")
    scene.tracker.reset()
    tracks = scene.show(0.4, "AB")
    assert {name: track.id for name, track in tracks.items()} == {"A": 3, "B": 4}
    assert [track.hits for track in scene.tracks] == [1, 1]


def test_reset_lets_time_start_anew_and_another_network_come() -> None:
    tracker = QueryTracker()
    one = [Detection(1, 0, 0, 0.9)]
    tracker.update(500.0, np.eye(4, dtype=np.float32), one)
    tracker.reset()
    (track,) = tracker.update(0.0, np.eye(6, 8, dtype=np.float32), one)
    assert (track.id, track.first_seen) == (2, 0.0)


def test_a_jump_back_drops_the_lost_ones_too(make_scene: MakeScene) -> None:
    scene = make_scene()
    for frame in range(4):
        scene.show(100.0 + frame, "AB" if frame < 3 else "B")
    assert scene.states() == {1: LOST, 2: CONFIRMED}
    scene.show(99.0, "B")
    assert scene.states() == {3: TENTATIVE}


# ---------------------------------------------------------------------------------------------
# Bad queries


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_frame_of_bad_queries_loses_nothing(make_scene: MakeScene, bad: float) -> None:
    scene = make_scene()
    for frame in range(4):
        scene.show(0.1 * frame, "AB")
    tracks = scene.tracker.update(0.4, np.full((100, 256), bad, np.float32), [])
    assert [(track.id, track.state) for track in tracks] == [(1, LOST), (2, LOST)]
    tracks = scene.show(0.5, "AB")
    assert {name: track.id for name, track in tracks.items()} == {"A": 1, "B": 2}


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_detections_without_a_query_direction_are_new_each_time(
    make_scene: MakeScene, bad: float
) -> None:
    scene = make_scene()
    for frame in range(3):
        scene.show(0.1 * frame, "A")
    queries = np.full((100, 256), bad, np.float32)
    detections = [Detection(k + 1, k, 0, 0.9, (0.0, 0.0, 9.0, 9.0)) for k in range(3)]
    for frame, ids in ((3, [2, 3, 4]), (4, [5, 6, 7])):
        tracks = scene.tracker.update(0.1 * frame, queries, detections)
        assert [track.id for track in tracks if track.segment_id] == ids
    assert scene.show(0.5, "A")["A"].id == 1


def test_one_bad_query_disturbs_no_other(make_scene: MakeScene) -> None:
    scene = make_scene()
    for frame in range(10):
        queries, detections, _ = scene.frame({"A": None, "B": None, "C": None}, {}, 0.9)
        if frame > 3:
            queries[detections[1].query, 7] = np.nan
        tracks = scene.tracker.update(0.1 * frame, queries, detections)
        by_segment = {track.segment_id: track.id for track in tracks if track.segment_id}
        assert (by_segment[1], by_segment[3]) == (1, 3)


# ---------------------------------------------------------------------------------------------
# Refused input


GOOD = Detection(1, 0, 0, 0.5)


@pytest.mark.parametrize(
    ("stamp", "shape", "detections", "message"),
    [
        (np.nan, (4, 8), [GOOD], "finite time"),
        (np.inf, (4, 8), [GOOD], "finite time"),
        (1.0, (4,), [], r"expected \(N, D\)"),
        (1.0, (1, 4, 8), [GOOD], r"expected \(N, D\)"),
        (1.0, (0, 8), [], r"expected \(N, D\)"),
        (1.0, (5, 8), [GOOD], "call reset"),
        (1.0, (4, 7), [GOOD], "call reset"),
        (1.0, (4, 8), [Detection(0, 0, 0, 0.5)], "segment id from 1"),
        (1.0, (4, 8), [Detection(1, 0, -1, 0.5)], "class id from 0"),
        (1.0, (4, 8), [Detection(1, 4, 0, 0.5)], "query from 0 to 3"),
        (1.0, (4, 8), [Detection(1, -1, 0, 0.5)], "query from 0 to 3"),
        (1.0, (4, 8), [Detection(1, 0, 0, 1.5)], "score from 0 to 1"),
        (1.0, (4, 8), [Detection(1, 0, 0, np.nan)], "score from 0 to 1"),
        (1.0, (4, 8), [Detection(1, 0, 0, 0.5, (0, 0, np.nan, 1))], "four finite numbers"),
        (1.0, (4, 8), [Detection(1, 0, 0, 0.5, (0, 0, 1))], "four finite numbers"),
        (1.0, (4, 8), [GOOD, Detection(1, 1, 0, 0.5)], "two detections with one segment_id"),
        (1.0, (4, 8), [GOOD, Detection(2, 0, 0, 0.5)], "two detections with one query"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(
    stamp: float, shape: tuple[int, ...], detections: list[Detection], message: str
) -> None:
    tracker = QueryTracker()
    queries = np.eye(4, 8, dtype=np.float32)
    tracker.update(0.0, queries, [GOOD])
    with pytest.raises(ValueError, match=message):
        tracker.update(stamp, np.ones(shape, np.float32), detections)
    (track,) = tracker.update(0.5, queries, [GOOD])
    assert (track.id, track.hits, track.last_seen) == (1, 2, 0.5)


@pytest.mark.parametrize(
    "setting",
    [
        {"confirm_hits": 0},
        {"memory_seconds": -1.0},
        {"memory_seconds": np.inf},
        {"memory_size": -1},
        {"tentative_seconds": np.nan},
        {"continue_similarity": 1.1},
        {"reid_similarity": -0.1},
        {"box_weight": 2.0},
        {"vote_seconds": 0.0},
        {"backward_jump": -0.1},
    ],
)
def test_bad_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} is .* expected a number"):
        TrackerConfig(**setting)


# ---------------------------------------------------------------------------------------------
# Whatever comes in


@pytest.mark.parametrize("seed", range(6))
def test_rules_hold_in_any_sequence(make_scene: MakeScene, seed: int) -> None:
    """Ids rise at birth and are never reused; one track per segment; everything is bounded."""
    rng = np.random.default_rng(seed)
    config = TrackerConfig(memory_size=8, memory_seconds=1.5, tentative_seconds=0.3)
    scene = make_scene(config, seed=seed, noise=float(rng.uniform(0.2, 0.8)))
    names = [chr(ord("A") + i) for i in range(24)]
    first_seen: dict[int, float] = {}
    confirmed: set[int] = set()
    forgotten: set[int] = set()
    now = 0.0
    for _ in range(200):
        steps = [0.0, 0.03, 0.1, 0.7, 9.0, -0.2, -3.0]
        stamp = now + float(rng.choice(steps, p=[0.1, 0.3, 0.43, 0.1, 0.01, 0.05, 0.01]))
        now = stamp if stamp < now - config.backward_jump else max(now, stamp)
        if rng.random() < 0.02:
            scene.tracker.reset()
            now = stamp
        visible = [name for name in rng.permutation(names) if rng.random() < 0.5]
        if rng.random() < 0.1:
            scene.base(str(rng.choice(names)))[:] = rng.normal(0.5, 1.0, 256)
        x, y = rng.uniform(0, 300, 2)
        places = {name: (x, y, x + 50.0, y + 50.0 * k) for k, name in enumerate(visible)}
        scene.show(stamp, places, {name: int(rng.integers(3)) for name in visible})

        tracks = scene.tracks
        ids = [track.id for track in tracks]
        assert ids == sorted(set(ids))
        segments = [track.segment_id for track in tracks if track.state is not LOST]
        assert sorted(segments) == list(range(1, len(visible) + 1))
        assert len(tracks) - len(segments) <= config.memory_size
        newest = max(first_seen, default=0)
        for track in tracks:
            assert (track.segment_id == 0) == (track.state is LOST)
            assert track.first_seen <= track.last_seen <= now
            assert 0.0 <= track.score <= 1.0
            if track.id not in first_seen:
                assert track.id > newest and track.hits == 1
            assert first_seen.setdefault(track.id, track.first_seen) == track.first_seen
        # A confirmed track is reported until it is forgotten, and then never again.
        assert not forgotten & set(ids)
        forgotten |= confirmed - set(ids)
        confirmed |= {track.id for track in tracks if track.state is not TENTATIVE}
    assert forgotten and len(first_seen) > 24


def test_many_births_are_bounded() -> None:
    rng = np.random.default_rng(0)
    tracker = QueryTracker(TrackerConfig(confirm_hits=1))
    detections = [Detection(k + 1, k, 0, 0.9) for k in range(100)]
    for frame in range(30):
        queries = rng.random((100, 256), np.float32)
        tracks = tracker.update(0.03 * frame, queries, detections)
        assert len(tracks) <= 100 + TrackerConfig().memory_size
        assert max(track.id for track in tracks) == 100 * (frame + 1)


def test_memory_is_flat(make_scene: MakeScene) -> None:
    """Things come, go and flicker for many frames; nothing is kept of what is forgotten."""
    scene = make_scene(TrackerConfig(memory_seconds=1.0))
    rng = np.random.default_rng(0)
    names = [f"thing {i}" for i in range(20)]
    sizes = []
    for frame in range(1600):
        if frame % 2 == 0:
            scene.base(names[frame // 2 % 20])[:] = rng.normal(0.5, 1.0, 256)
        visible = [name for name in names if rng.random() < 0.8]
        scene.show(0.03 * frame, visible, {name: int(rng.integers(100)) for name in names})
        if frame >= 300 and frame % 100 == 0:
            sizes.append(len(pickle.dumps(scene.tracker)))
    assert max(track.id for track in scene.tracks) > 500
    assert max(sizes[-4:]) < 1.1 * max(sizes[:4]), sizes
