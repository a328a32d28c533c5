"""Things that cross, hide each other, look alike or change keep their tracks apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rmpsam_ros.tracking import TrackerConfig, TrackState

TENTATIVE, CONFIRMED, LOST = TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST
MakeScene = Callable[..., Any]


def crossing(frame: int, frames: int) -> dict[str, tuple[float, float, float, float]]:
    """Return boxes of A going right and B going left in two lanes, meeting half way."""
    x = 400.0 * frame / (frames - 1)
    return {"A": (x, 0.0, x + 60.0, 100.0), "B": (400.0 - x, 40.0, 460.0 - x, 140.0)}


def ids_over_crossing(scene: Any, frames: int = 21) -> list[tuple[int, int]]:
    """Return the ids of A and B in each frame of their crossing."""
    found = []
    for frame in range(frames):
        tracks = scene.show(0.1 * frame, crossing(frame, frames))
        found.append((tracks["A"].id, tracks["B"].id))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_boxes", [True, False])
def test_crossing_things_keep_their_ids(
    make_scene: MakeScene, seed: int, with_boxes: bool
) -> None:
    scene = make_scene(seed=seed, with_boxes=with_boxes)
    scene.make_alike("B", "A", 0.5)
    assert set(ids_over_crossing(scene)) == {(1, 2)}


@pytest.mark.parametrize("seed", range(5))
def test_crossing_with_one_hidden_behind_the_other(make_scene: MakeScene, seed: int) -> None:
    scene = make_scene(seed=seed)
    scene.make_alike("B", "A", 0.4)
    for frame in range(21):
        places = crossing(frame, 21)
        if 9 <= frame <= 11:
            del places["B"]
        ids = {name: track.id for name, track in scene.show(0.1 * frame, places).items()}
        assert ids == {name: {"A": 1, "B": 2}[name] for name in places}


def test_boxes_decide_where_queries_cannot(make_scene: MakeScene) -> None:
    apart = {"A": (0.0, 0.0, 60.0, 100.0), "B": (300.0, 0.0, 360.0, 100.0)}
    swaps = {}
    for weight in (0.2, 0.0):
        swaps[weight] = 0
        for seed in range(10):
            scene = make_scene(TrackerConfig(box_weight=weight), seed=seed)
            scene.make_alike("B", "A", 0.98)
            ids = [
                tuple(track.id for track in scene.show(0.1 * frame, apart).values())
                for frame in range(20)
            ]
            swaps[weight] += sum(now != before for before, now in itertools.pairwise(ids))
    assert swaps[0.2] == 0
    assert swaps[0.0] > 10


def test_a_box_does_not_make_one_thing_of_two(make_scene: MakeScene) -> None:
    scene = make_scene()
    box = (10.0, 10.0, 110.0, 210.0)
    for frame in range(5):
        scene.show(0.1 * frame, {"A": box})
    assert scene.show(0.5, {"B": box})["B"].id == 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("away", "expected"), [(0.1, 1), (3.0, 2)])
def test_a_fresh_box_helps_a_thing_whose_query_changes(
    make_scene: MakeScene, seed: int, away: float, expected: int
) -> None:
    """Another object query takes the thing over, and is only somewhat like the one before."""
    scene = make_scene(seed=seed)
    box = (10.0, 10.0, 110.0, 210.0)
    for frame in range(5):
        scene.show(0.1 * frame, {"A": box})
    scene.make_alike("spare", "A", 0.45)
    assert scene.show(0.4 + away, {"spare": box})["spare"].id == expected


@pytest.mark.parametrize("seed", range(4))
def test_memory_is_a_mean_and_not_the_last_sight(make_scene: MakeScene, seed: int) -> None:
    scene = make_scene(seed=seed)
    whole = scene.base("A").copy()
    for frame in range(10):
        if frame == 9:  # half hidden just before it is gone
            scene.make_alike("A", "occluder", 0.55)
        assert scene.show(0.1 * frame, "A")["A"].id == 1
    scene.show(1.0, "")
    scene.base("A")[:] = whole
    assert scene.show(1.1, "A")["A"].id == 1


@pytest.mark.parametrize("period", [0.1, 1.0])
def test_memory_follows_a_thing_that_changes(make_scene: MakeScene, period: float) -> None:
    scene = make_scene()
    first, last = scene.base("A").copy(), scene.base("later look").copy()
    for stamp in np.arange(0.0, 20.0, period).tolist():
        share = float(np.clip((stamp - 10.0) / 4.0, 0.0, 1.0))
        scene.base("A")[:] = np.sqrt(share) * last + np.sqrt(1.0 - share) * first
        assert scene.show(stamp, "A")["A"].id == 1
    scene.show(20.0, "")
    assert scene.show(21.0, "A")["A"].id == 1
    scene.show(22.0, "")
    scene.base("A")[:] = first
    assert scene.show(23.0, "A")["A"].id == 2


def test_what_comes_back_in_part_is_recognised_while_tentative(make_scene: MakeScene) -> None:
    scene = make_scene(TrackerConfig(confirm_hits=4))
    for frame in range(6):
        scene.show(0.1 * frame, "A")
    scene.show(0.6, "")
    whole = scene.base("A").copy()
    other = np.random.default_rng(9).normal(0.5, 1.0, whole.shape)
    ids = []
    for frame, share in enumerate((0.3, 0.4, 0.6, 1.0)):
        scene.base("A")[:] = share * whole + (1.0 - share) * other
        ids.append(scene.show(0.7 + 0.1 * frame, "A")["A"].id)
    assert ids[0] == 2 and ids[-1] == 1
    assert set(scene.states()) == {1}
    # The tentative id is given up: the partial look does not bring it back.
    scene.show(1.1, "")
    scene.base("A")[:] = 0.2 * whole + 0.8 * other
    assert scene.show(1.2, "A")["A"].id == 3


def test_things_seen_together_do_not_take_each_other_over(make_scene: MakeScene) -> None:
    scene = make_scene(TrackerConfig(confirm_hits=5))
    scene.make_alike("B", "A", 0.7)
    for frame in range(8):
        visible = "A" if frame < 4 else "AB" if frame < 6 else "B"
        tracks = scene.show(0.1 * frame, visible)
    assert tracks["B"].id == 2
    assert scene.states() == {1: LOST, 2: TENTATIVE}


def test_a_confirmed_track_is_not_taken_over(make_scene: MakeScene) -> None:
    scene = make_scene(TrackerConfig(confirm_hits=2))
    for frame in range(3):
        scene.show(0.1 * frame, "A")
    whole = scene.base("A").copy()
    other = np.random.default_rng(9).normal(0.5, 1.0, whole.shape)
    scene.show(0.3, "")
    for frame, share in enumerate((0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)):
        scene.base("A")[:] = share * whole + (1.0 - share) * other
        track = scene.show(0.4 + 0.1 * frame, "A")["A"]
    assert track.id == 2
    assert scene.states() == {1: LOST, 2: CONFIRMED}
