"""Expected ids over scripted sequences, as a table of cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from rmpsam_ros.tracking import TrackerConfig

PERIOD = 0.1


def stamps_from(*periods: float) -> tuple[float, ...]:
    """Return stamps from the times between frames."""
    return tuple((100.0 + np.cumsum([0.0, *periods])).tolist())


@dataclass(frozen=True)
class Case:
    """One sequence: per thing and frame the expected id, "." where it is not in the image.

    Frames are `PERIOD` apart unless ``stamps`` says otherwise. ``alike`` is how much of A's query
    B has.
    """

    name: str
    ids: dict[str, str]
    stamps: tuple[float, ...] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    alike: float = 0.0


CASES = (
    Case("nothing at all", {"A": "....."}),
    Case("things keep their ids", {"A": "111111", "B": "222222"}),
    Case("ids count up at birth", {"A": "11111", "B": ".2222", "C": "...33"}),
    Case("short occlusion", {"A": "1111..111", "B": "222222222"}),
    Case("long occlusion within the memory", {"A": "111" + "." * 60 + "111"}),
    Case("both occluded, back one by one", {"A": "1111...1111", "B": "2222.....22"}),
    Case("both occluded, back together", {"A": "1111...1111", "B": "2222...2222"}),
    Case("exit, and re-entry after the memory", {"A": "1111" + "." * 105 + "2222"}),
    Case("one leaves and another comes at once", {"A": "1111....", "B": "....2222"}),
    Case("another comes while one is away", {"A": "1111..111", "B": "...222222"}),
    Case("hidden while tentative", {"A": "11.111"}),
    Case("away too long while tentative", {"A": "11" + "." * 12 + "222"}),
    Case("flickers in every other frame", {"A": "1.1.1.1.1", "B": "222222222"}),
    Case("two of a kind", {"A": "111111111", "B": "222222222"}, alike=0.6),
    Case("two of a kind, one occluded", {"A": "1111...111", "B": "2222222222"}, alike=0.5),
    Case(
        "frames dropped",
        {"A": "1111.1111", "B": "222222222"},
        stamps=stamps_from(0.03, 0.03, 1.4, 0.03, 0.9, 0.03, 2.5, 0.03),
    ),
    Case("slow camera", {"A": "111.1.11", "B": "22222222"}, stamps=stamps_from(*[2.0] * 7)),
    Case("memory is time: slow frames", {"A": "111.....2"}, stamps=stamps_from(*[2.0] * 8)),
    Case(
        "memory is time: fast frames",
        {"A": "111" + "." * 200 + "1"},
        stamps=stamps_from(*[0.01] * 203),
    ),
    Case(
        "a long pause ends all tracks",
        {"A": "111333", "B": "222444"},
        stamps=stamps_from(0.1, 0.1, 60.0, 0.1, 0.1),
    ),
    Case("jump back", {"A": "1112222"}, stamps=stamps_from(1, 1, -50.0, 1, 1, 1)),
    Case("jump back while away", {"A": "111..22"}, stamps=stamps_from(1, 1, 1, 1, -50.0, 1)),
    Case("jumps back again and again", {"A": "1234"}, stamps=stamps_from(-1.0, -1.0, -1.0)),
    Case("jitter back", {"A": "111111"}, stamps=stamps_from(0.1, -0.05, 0.1, 0.1, -0.4)),
    Case("one stamp over and over", {"A": "1111", "B": ".222"}, stamps=stamps_from(0, 0, 0)),
    Case("no memory", {"A": "111.222"}, config={"memory_size": 0}),
    Case("no memory time", {"A": "111..222"}, config={"memory_seconds": 0.0}),
    Case(
        "one comes back, beside a new one",
        {"A": "111...111", "B": "222......", "C": "......333"},
    ),
    Case("creeping back", {"A": "1122"}, stamps=stamps_from(-0.3, -0.3, -0.3)),
    Case(
        "memory of one keeps the newest",
        {"A": "1111....1.", "B": "222......3"},
        config={"memory_size": 1},
    ),
    Case(
        "memory of one keeps the confirmed",
        {"A": "1111....1", "B": ".....2..."},
        config={"memory_size": 1},
    ),
)


@pytest.mark.parametrize("with_boxes", [True, False], ids=["boxes", "no boxes"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ids(make_scene: Callable[..., Any], case: Case, seed: int, with_boxes: bool) -> None:
    scene = make_scene(TrackerConfig(**case.config), seed=seed, with_boxes=with_boxes)
    if case.alike:
        scene.make_alike("B", "A", case.alike)
    num_frames = len(next(iter(case.ids.values())))
    stamps = case.stamps or stamps_from(*[PERIOD] * (num_frames - 1))
    assert len(stamps) == num_frames
    found = {name: "" for name in case.ids}
    for frame, stamp in enumerate(stamps):
        places = {
            name: (200.0 * i + 3.0 * frame, 50.0, 200.0 * i + 3.0 * frame + 80.0, 200.0)
            for i, (name, ids) in enumerate(case.ids.items())
            if ids[frame] != "."
        }
        tracks = scene.show(stamp, places)
        for name in found:
            found[name] += str(tracks[name].id) if name in tracks else "."
    assert found == case.ids
